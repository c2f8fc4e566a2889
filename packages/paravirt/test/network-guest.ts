// Debian guests with network cards, and cables between them, for tests of the network.
import { commandArchive, createCommandDecoder, guestCommandLine, joinArchives } from "@paravirt/boot";
import type { PacketOffload, PacketPort } from "@paravirt/core";
import type { DebianGuest } from "@paravirt/host-node";
import type { Machine, MachineDomain } from "@paravirt/vmm";
import type { Device } from "@paravirt/xenbus";

/** A guest that runs one shell script. */
export interface ScriptGuest {
  readonly domain: MachineDomain;
  /** What it has printed so far. */
  readonly output: string;
  /** The script's status, when it has ended; the domain is gone then. */
  readonly ended: Promise<number | undefined>;
  /** Waits until the guest has printed this. */
  said(text: string): Promise<void>;
}

export interface ScriptGuestOptions {
  readonly script: string;
  readonly devices?: readonly Device[];
  /** As `paravirt.net=` says it: `eth0:10.0.0.1/24`. */
  readonly networks?: readonly string[];
  readonly vcpus?: number;
  /** Archives that come after the guest's own initramfs. */
  readonly archives?: readonly Uint8Array[];
}

export async function startScript(
  machine: Machine,
  guest: DebianGuest,
  { script, devices = [], networks = [], vcpus = 1, archives = [] }: ScriptGuestOptions,
): Promise<ScriptGuest> {
  const domain = await machine.createDomain({
    kernel: guest.image,
    initrd: joinArchives([guest.initramfs, ...archives, commandArchive(["sh", "-c", script])]),
    commandLine: guestCommandLine({ mode: "command", networks }),
    memory: 160,
    vcpus,
    devices,
  });
  let output = "";
  let status: number | undefined;
  let over = false;
  const add = (bytes: Uint8Array): void => {
    output += new TextDecoder().decode(bytes);
  };
  const decoder = createCommandDecoder({
    onStdout: add,
    onStderr: add,
    onExit(code) {
      status = code;
      domain.destroy();
    },
  });
  const reading = (async () => {
    for await (const bytes of domain.console.readable) decoder.push(bytes);
    over = true;
  })();
  return {
    domain,
    get output() {
      return output;
    },
    ended: reading.then(() => status),
    async said(text) {
      for (let turn = 0; !output.includes(text); turn++) {
        if (turn > 11_000 || over) throw new Error(`the guest never said "${text}", but:\n${output}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
  };
}

type Receiver = ((frame: Uint8Array, offload?: PacketOffload) => void) | undefined;

/** Two ports with a cable between them. */
export function createCable({
  takesOffloads = true,
}: {
  takesOffloads?: boolean;
} = {}): readonly [PacketPort, PacketPort] {
  const receivers: [Receiver, Receiver] = [undefined, undefined];
  const end = (own: 0 | 1): PacketPort => ({
    takesOffloads,
    send: (frame, offload) => receivers[own === 0 ? 1 : 0]?.(frame, offload),
    onPacket(receiver) {
      receivers[own] = receiver;
    },
  });
  return [end(0), end(1)];
}

export interface Disturbance {
  /** Which share of frames is lost. */
  readonly loss: number;
  /** Which share of frames arrives after the one behind it. */
  readonly reordering: number;
  /** Which share arrives twice. */
  readonly duplication?: number;
}

/** Loses, reorders and doubles frames of `port` in both directions, the same ones each time. */
export function disturb(
  port: PacketPort,
  { loss, reordering, duplication = 0 }: Disturbance,
): { readonly port: PacketPort; readonly counts: { lost: number; reordered: number; doubled: number } } {
  const counts = { lost: 0, reordered: 0, doubled: 0 };
  let seed = 0x12345678;
  const chance = (): number => {
    // xorshift32: no need of more.
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) / 2 ** 32;
  };
  const path = (on: (frame: Uint8Array, offload?: PacketOffload) => void) => {
    let late: (() => void) | undefined;
    return (frame: Uint8Array, offload?: PacketOffload): void => {
      if (chance() < loss) {
        counts.lost++;
        return;
      }
      if (late === undefined && chance() < reordering) {
        const copy = frame.slice();
        late = () => {
          late = undefined;
          on(copy, offload);
        };
        // The last frame of a burst has none behind it.
        setTimeout(() => late?.(), 20);
        counts.reordered++;
        return;
      }
      on(frame, offload);
      if (chance() < duplication) {
        counts.doubled++;
        on(frame, offload);
      }
      late?.();
    };
  };
  const disturbed: PacketPort = {
    ...(port.takesOffloads === undefined ? {} : { takesOffloads: port.takesOffloads }),
    send: path((frame, offload) => port.send(frame, offload)),
    onPacket(receiver, options) {
      port.onPacket(receiver === undefined ? undefined : path(receiver), options);
    },
  };
  return { port: disturbed, counts };
}
