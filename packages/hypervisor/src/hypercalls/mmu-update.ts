import { HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import { guestLoad, guestSpan } from "../guest-memory.ts";
import type { Hypercall } from "../hypercall.ts";

/** MMU_UPDATE_PREEMPTED: set in the count of a call that Xen continued. */
const PREEMPTED = 0x8000_0000;
const REQUEST_BYTES = 16;
/** Requests copied at a time. */
const CHUNK = 256;
/** Requests after which the guest's other VCPUs and events get their turn. */
const PREEMPT_AFTER = 4096;

const requests = new Uint32Array(CHUNK * 4);
const requestBytes = new Uint8Array(requests.buffer);
const done = new Uint8Array(4);
const doneView = new DataView(done.buffer);

/** Changes page-table and M2P entries, each checked; ends at the first that is refused, and says how many were done. */
export const mmuUpdate: Hypercall = {
  number: HYPERVISOR.mmu_update,
  name: "mmu_update",
  support: "full",
  handle(call) {
    const { domain, vcpu } = call;
    const address = call.arg(0);
    const donePointer = call.arg(2);
    const foreign = call.u32(3);
    let count = call.u32(1);
    let before = 0;
    if ((count & PREEMPTED) !== 0) {
      count = (count & ~PREEMPTED) >>> 0;
      if (donePointer !== 0n && guestLoad(vcpu, donePointer, done, 4)) before = doneView.getUint32(0, true);
    }
    let status = 0;
    let index = 0;
    const limit = Math.min(count, PREEMPT_AFTER);
    while (index < limit) {
      const chunk = Math.min(CHUNK, limit - index);
      const at = address + BigInt(index * REQUEST_BYTES);
      let loaded = chunk;
      const span =
        index === 0 ? guestSpan(vcpu, call.u32(0), call.words[1] as number, chunk * REQUEST_BYTES, false) / 4 : 0;
      if (span !== 0) {
        const { words } = call.machine.memory;
        for (let word = 0; word < chunk * 4; word++) requests[word] = words[span + word] as number;
      } else if (!guestLoad(vcpu, at, requestBytes, chunk * REQUEST_BYTES)) {
        // Those before the page that is missing still count.
        for (loaded = 0; loaded < chunk; loaded++) {
          const part = requestBytes.subarray(loaded * REQUEST_BYTES);
          if (!guestLoad(vcpu, at + BigInt(loaded * REQUEST_BYTES), part, REQUEST_BYTES)) break;
        }
      }
      const result = call.machine.paging.mmuUpdate(domain.memory, requests, loaded, foreign);
      index += result.done;
      status = result.status;
      if (status !== 0) break;
      if (loaded < chunk) {
        status = -XEN_ERRNO.EFAULT;
        break;
      }
    }
    if (donePointer !== 0n) {
      doneView.setUint32(0, before + index, true);
      call.bytes.set(done);
      if (!call.store(donePointer, 4) && status === 0) status = -XEN_ERRNO.EFAULT;
    }
    if (status === 0 && index < count) {
      call.args[0] = address + BigInt(index * REQUEST_BYTES);
      call.args[1] = BigInt(((count - index) | PREEMPTED) >>> 0);
      call.again = true;
      return undefined;
    }
    return status;
  },
};
