import { commandScript, quoteWord } from "@paravirt/boot";
import { AGENT_PATH, EXEC_FOLDER, NEXT } from "./agent-script.ts";

/** Names of a command's files. */
export const FILES = ["in", "out", "err", "events"] as const;
/** Name of one of a command's files. */
export type FileName = (typeof FILES)[number];

/** A command as a worker in the guest gets it. */
export interface CommandRequest {
  /** Name of its folder. */
  readonly id: number;
  /** The program and its arguments. */
  readonly argv: readonly (string | Uint8Array)[];
  /** Variables on top of PATH, HOME and TERM. */
  readonly env?: Readonly<Record<string, string>>;
  /** Where it starts. */
  readonly cwd?: string;
  /** Whether there is standard input beside an end of file. */
  readonly hasInput: boolean;
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Bytes of one transfer between a pipe and a file of ours. */
const BLOCK = 65536;

/**
 * The script of one command. Its streams are pipes, as programs know them, and `dd` carries them: busybox forks for it,
 * and needs no exec. Events are its process id (`p12`), which is that of its session, too, and its status (`x0`).
 * Throws `BAD_ARGUMENT` for what no command can have: a zero byte, no words, a variable without a name.
 */
export function requestScript({ id, argv, env, cwd, hasInput }: CommandRequest): Uint8Array {
  const options = { ...(env === undefined ? {} : { env }), ...(cwd === undefined ? {} : { cwd }) };
  const command = commandScript(["setsid", ...argv], options);
  const folder = `${EXEC_FOLDER}/${id}`;
  const carry = (name: FileName): string =>
    name === "in"
      ? `dd bs=${BLOCK} if=${folder}/in 2>/dev/null 9>&-`
      : `dd bs=${BLOCK} of=${folder}/${name} >/dev/null 2>&1 3>&- 9>&-`;
  // The shell's own words about a killed command go nowhere: 4 is what the command itself writes its errors to.
  const before = `{ ${hasInput ? `${carry("in")} | ` : ""}{ { { (
read -r pid rest </proc/self/stat
echo "p$pid" >&9
exec 2>&4 4>&- 9>&-${hasInput ? "" : " </dev/null"}
command=`;
  const after = `
[ -z "$PARAVIRT_ROOT" ] || exec chroot "$PARAVIRT_ROOT" /bin/sh -c "unset PARAVIRT_ROOT; cd /root 2>/dev/null
$command"
unset PARAVIRT_ROOT
eval "$command"
); echo "x$?" >&9; } 4>&2 2>/dev/null; } 2>&1 >&3 3>&- | ${carry("err")}; } 3>&1 | ${carry("out")}; } 9>${folder}/events
:
`;
  return concat([encode(before), quoteWord(command), encode(after)]);
}

/** The script that sends a signal to a command and all that it started, as far as they stayed in its session's group. */
export function signalScript(pid: number, signal: string): Uint8Array {
  // The process tells its id before it leads a session: until then it is alone, and has no group of its own.
  return encode(`{ kill -${signal} -${pid} || { kill -${signal} ${pid} && kill -${signal} -${pid}; }; } 2>/dev/null
:
`);
}

/** Goes before another script: starts one more worker, which ignores nothing, since it is no child of a shell's `&`. */
export const START_WORKER: Uint8Array = encode(
  `start-stop-daemon -S -b -p /run/no-such-worker -x ${AGENT_PATH} -- ${NEXT.more}\n`,
);

/** Ends a worker. */
export const END_WORKER: Uint8Array = encode("exit 0\n");

/** Puts byte strings one after another. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
