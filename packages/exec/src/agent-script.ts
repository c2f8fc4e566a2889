import { writeCpio } from "@paravirt/boot";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** What the guest calls the file system of requests: the tag of its 9P device. */
export const EXEC_TAG = "paravirt-exec";
/** Where the guest has it. */
export const EXEC_FOLDER = "/run/paravirt-exec";
/** The agent's script in the guest. */
export const AGENT_PATH = "/run/paravirt/agent";
const START_PATH = "/run/paravirt/start";

/** Files that a worker reads requests from: the first one's, and those of workers that may be sent away again. */
export const NEXT = { first: "next", more: "more" } as const;

// A worker runs one command after another in its own foreground: what a shell starts with & would ignore ^C. Each open of
// the file waits for a request, and what comes is a script, so that everything else is decided on the host.
const AGENT = `#!/bin/sh
while . ${EXEC_FOLDER}/"\${1:-${NEXT.first}}"; do :; done
`;

const START = `#!/bin/sh
mkdir -p ${EXEC_FOLDER}
mount -t 9p -o trans=xen,version=9p2000.L,cache=none ${EXEC_TAG} ${EXEC_FOLDER} || {
  echo "paravirt: there is no way to the host" >/dev/console
  exit 1
}
cd /root 2>/dev/null || cd /
while :; do ${AGENT_PATH} || sleep 1; done
`;

/** The same under systemd, where a system on a disk has taken over. */
const SERVICE = `[Unit]
Description=Commands from the host

[Service]
ExecStart=/bin/sh ${START_PATH}
Environment=HOME=/root TERM=linux
Restart=on-failure
`;

/**
 * What is appended to the initramfs of a guest whose commands come through {@link createExec}: the generated `/init`
 * starts it in agent mode, and makes it a service of a system on a disk in shell mode.
 */
export function agentArchive(): Uint8Array {
  return writeCpio([
    { path: "run/paravirt", type: "directory", mode: 0o755 },
    { path: AGENT_PATH.slice(1), type: "file", mode: 0o755, data: encode(AGENT) },
    { path: START_PATH.slice(1), type: "file", mode: 0o755, data: encode(START) },
    { path: "run/paravirt/paravirt-agent.service", type: "file", mode: 0o644, data: encode(SERVICE) },
    { path: "paravirt/command", type: "symlink", mode: 0o777, target: START_PATH },
  ]);
}
