import type { PacketPort } from "@paravirt/core";
import type { VirtualHost } from "./virtual-host.ts";

/** How badly a link treats its frames; parts of 1. */
export interface Disturbance {
  readonly loss: number;
  readonly duplication: number;
  /** Frames that take longer than those behind them. */
  readonly reordering: number;
}

/** A link to a network in virtual time: each frame takes a millisecond, some longer, some forever. */
export function lossyLink(
  host: VirtualHost,
  network: PacketPort,
  { loss, duplication, reordering }: Disturbance,
  onFrame: (frame: Uint8Array) => void,
): { send(frame: Uint8Array): void } {
  const chance = (part: number): boolean => host.random() / 2 ** 32 < part;
  const carry = (frame: Uint8Array, to: (frame: Uint8Array) => void): void => {
    const copy = frame.slice();
    const copies = chance(loss) ? 0 : chance(duplication) ? 2 : 1;
    for (let count = 0; count < copies; count++)
      host.after(chance(reordering) ? 1 + (host.random() % 30) : 1, () => to(copy));
  };
  network.onPacket((frame) => carry(frame, onFrame));
  return { send: (frame) => carry(frame, (copy) => network.send(copy)) };
}
