import { isBroadcast, isGroupAddress } from "./mac.ts";

/** Groups that a guest may join, as in Linux's netback. */
export const MAX_GROUPS = 64;

/** Which groups' frames a guest wants (`feature-multicast-control` of `io/netif.h`). */
export class MulticastFilter {
  private readonly groups = new Set<number>();
  /** Whether the guest asked for filtering; without that, all frames go through. */
  active = false;

  /** Joins a group; `false` when there are too many or the address isn't a group's. */
  join(group: Uint8Array): boolean {
    if (!isGroupAddress(group, 0)) return false;
    const key = keyOf(group, 0);
    if (this.groups.size >= MAX_GROUPS && !this.groups.has(key)) return false;
    this.groups.add(key);
    return true;
  }

  /** Leaves a group, whether it had been joined or not. */
  leave(group: Uint8Array): void {
    this.groups.delete(keyOf(group, 0));
  }

  /** Whether a frame is for the guest as far as groups go. */
  wants(frame: Uint8Array): boolean {
    if (!this.active || !isGroupAddress(frame, 0) || isBroadcast(frame, 0)) return true;
    return this.groups.has(keyOf(frame, 0));
  }

  /** Forgets everything: another frontend comes. */
  reset(): void {
    this.groups.clear();
    this.active = false;
  }
}

function keyOf(bytes: Uint8Array, at: number): number {
  let key = 0;
  for (let byte = 0; byte < 6; byte++) key = key * 256 + bytes[at + byte]!;
  return key;
}
