import { RUNSTATE, VMASST, XEN_RUNSTATE_UPDATE } from "@paravirt/xen-abi";
import { guestStore } from "./guest-memory.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

/** `struct vcpu_runstate_info`: state at 0, entry time at 8, four times from 16. */
export const RUNSTATE_SIZE = 48;

const bytes = new Uint8Array(RUNSTATE_SIZE);
const view = new DataView(bytes.buffer);

/** Moves a VCPU to another runstate at clock time `now`, and shows it in the guest's area. */
export function changeRunstate(vcpu: VirtualCpu, state: number, now: bigint): void {
  if (vcpu.runstate === state) return;
  const spent = now - vcpu.runstateEntry;
  if (spent > 0n) vcpu.runstateTime[vcpu.runstate] = (vcpu.runstateTime[vcpu.runstate] as bigint) + spent;
  vcpu.runstate = state;
  vcpu.runstateEntry = now;
  // Xen writes the area when the VCPU is scheduled in; before that its page tables aren't loaded.
  if (state === RUNSTATE.running && vcpu.runstateArea !== 0n) storeRunstate(vcpu);
}

/** Encodes the runstate, counting the time since its entry, into `into` at `at`. */
export function encodeRunstate(vcpu: VirtualCpu, into: DataView, at: number, now: bigint): void {
  into.setUint32(at, vcpu.runstate, true);
  into.setUint32(at + 4, 0, true);
  into.setBigUint64(at + 8, vcpu.runstateEntry, true);
  for (let state = 0; state < 4; state++) {
    let time = vcpu.runstateTime[state] as bigint;
    if (state === vcpu.runstate && now > vcpu.runstateEntry) time += now - vcpu.runstateEntry;
    into.setBigUint64(at + 16 + state * 8, time, true);
  }
}

/** Writes the area that the guest registered; an address that is not mapped is skipped, as Xen does. */
export function storeRunstate(vcpu: VirtualCpu): boolean {
  encodeRunstate(vcpu, view, 0, vcpu.runstateEntry);
  if ((vcpu.domain.vmAssist & (1 << VMASST.runstate_update_flag)) === 0) {
    return guestStore(vcpu, vcpu.runstateArea, bytes, RUNSTATE_SIZE);
  }
  const entry = vcpu.runstateEntry;
  view.setBigUint64(8, entry | XEN_RUNSTATE_UPDATE, true);
  if (!guestStore(vcpu, vcpu.runstateArea, bytes, RUNSTATE_SIZE)) return false;
  view.setBigUint64(8, entry, true);
  return guestStore(vcpu, vcpu.runstateArea, bytes, RUNSTATE_SIZE);
}
