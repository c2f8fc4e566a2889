import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { PacketOffload, PacketPort } from "@paravirt/core";

/** Linux's own network stack in a namespace of its own, behind a tap device that is joined to a port. */
export interface TapGuest {
  /** Runs a shell script in the namespace, and answers what it printed and its status. */
  run(script: string, options?: { readonly timeout?: number }): Promise<{ output: string; status: number }>;
  /** Starts a program that stays. */
  start(command: string, words: readonly string[]): ChildProcess;
  close(): void;
}

const HEADER = 10;
const ENTER = ["-U", "-n", "--preserve-credentials", "-t"];

/** Whether this machine lets us have such a device. */
export function canTap(): boolean {
  return spawnSync("unshare", ["-rn", "perl", "-e", 'open(T, "+<", "/dev/net/tun") or exit 1']).status === 0;
}

/**
 * Makes the namespace; `address` is static (`10.0.2.15/24`), or `none`. Without `takesOffloads` the device finishes all
 * frames itself.
 */
export async function startTap(
  port: PacketPort,
  address = "10.0.2.15/24",
  mtu = 1500,
  { takesOffloads = true }: { readonly takesOffloads?: boolean } = {},
): Promise<TapGuest> {
  const script = fileURLToPath(new URL("tap.pl", import.meta.url));
  const words = ["-rn", "perl", script, "eth0", address, String(mtu), takesOffloads ? "1" : "0"];
  const relay = spawn("unshare", words, { stdio: ["pipe", "pipe", "inherit"] });
  const children = new Set<ChildProcess>();
  let input: Buffer = Buffer.alloc(0);
  await new Promise<void>((resolve, reject) => {
    relay.once("exit", (code) => reject(new Error(`the tap's relay ended with ${code}`)));
    relay.stdout.once("data", (first: Buffer) => {
      input = first.subarray(4);
      resolve();
    });
  });
  relay.stdin.on("error", () => {});
  const take = (): void => {
    let at = 0;
    while (input.length - at >= 4) {
      const length = input.readUInt32BE(at);
      if (input.length - at - 4 < length) break;
      const packet = input.subarray(at + 4, at + 4 + length);
      at += 4 + length;
      const offload: PacketOffload | undefined =
        packet[1] !== 0
          ? { partialChecksum: true, segmentSize: packet.readUInt16LE(4) }
          : (packet[0]! & 1) !== 0
            ? { partialChecksum: true }
            : undefined;
      port.send(packet.subarray(HEADER), offload);
    }
    input = input.subarray(at);
  };
  relay.stdout.on("data", (bytes: Buffer) => {
    input = input.length === 0 ? bytes : Buffer.concat([input, bytes]);
    take();
  });
  port.onPacket(
    (frame, offload) => {
      const packet = Buffer.alloc(4 + HEADER + frame.length);
      packet.writeUInt32BE(HEADER + frame.length);
      if (offload !== undefined) {
        const headers = frame[12] === 0x08 && frame[23] === 6 ? 34 + (frame[46]! >> 4) * 4 : 42;
        packet[4] = 1;
        packet[5] = offload.segmentSize === undefined ? 0 : 1;
        packet.writeUInt16LE(headers, 6);
        packet.writeUInt16LE(offload.segmentSize ?? 0, 8);
        packet.writeUInt16LE(34, 10);
        packet.writeUInt16LE(frame[23] === 6 ? 16 : 6, 12);
      }
      packet.set(frame, 4 + HEADER);
      relay.stdin.write(packet);
    },
    { takesOffloads },
  );
  const pid = String(relay.pid);
  return {
    run: (script, options = {}) =>
      new Promise((resolve) => {
        execFile(
          "nsenter",
          [...ENTER, pid, "sh", "-c", script],
          { timeout: options.timeout ?? 30_000, maxBuffer: 1 << 24, killSignal: "SIGKILL" },
          (error, stdout, stderr) =>
            resolve({ output: stdout + stderr, status: error === null ? 0 : Number(error.code ?? -1) }),
        );
      }),
    start(command, words) {
      const child = spawn("nsenter", [...ENTER, pid, command, ...words], { stdio: ["ignore", "pipe", "inherit"] });
      children.add(child);
      return child;
    },
    close() {
      for (const child of children) child.kill("SIGKILL");
      port.onPacket(undefined);
      relay.kill("SIGKILL");
    },
  };
}
