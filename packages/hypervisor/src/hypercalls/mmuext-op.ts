import { HYPERVISOR, layout, MMUEXT, XEN_ERRNO } from "@paravirt/xen-abi";
import { guestLoad } from "../guest-memory.ts";
import type { Hypercall, Operation } from "../hypercall.ts";

const PREEMPTED = 0x8000_0000;
const PREEMPT_AFTER = 1024;
const { size, offsets } = layout("mmuext_op", "x86_64");
const done = new Uint8Array(4);
const doneView = new DataView(done.buffer);

const note: { readonly [name: string]: string } = {
  FLUSH_CACHE: "-EACCES, as for any domain without I/O memory.",
  FLUSH_CACHE_GLOBAL: "-EINVAL, as for any domU.",
  MARK_SUPER: "-EOPNOTSUPP, as without superpages, Xen's default.",
  UNMARK_SUPER: "-EOPNOTSUPP, as without superpages, Xen's default.",
};
const operations: readonly Operation[] = Object.entries(MMUEXT).map(([name, number]) =>
  note[name] === undefined ? { number, name, support: "full" } : { number, name, support: "full", note: note[name] },
);

/** Pins and unpins tables, switches address spaces, flushes, sets the LDT. */
export const mmuextOp: Hypercall = {
  number: HYPERVISOR.mmuext_op,
  name: "mmuext_op",
  support: "full",
  note: "Flushes have nothing left to do: every change of an entry drops what was cached from it at once.",
  // Each element of the array names its own operation.
  operationArgument: -1,
  operations,
  handle(call) {
    const { domain, vcpu } = call;
    const { paging } = call.machine;
    const address = call.arg(0);
    const donePointer = call.arg(2);
    let count = call.u32(1);
    let before = 0;
    if ((count & PREEMPTED) !== 0) {
      count = (count & ~PREEMPTED) >>> 0;
      if (donePointer !== 0n && guestLoad(vcpu, donePointer, done, 4)) before = doneView.getUint32(0, true);
    }
    const owner = paging.mmuextOwner(domain.memory, call.u32(3));
    if (owner < 0) return owner;
    let status = 0;
    let index = 0;
    const limit = Math.min(count, PREEMPT_AFTER);
    for (; index < limit; index++) {
      if (!call.load(address + BigInt(index * size), size)) {
        status = -XEN_ERRNO.EFAULT;
        break;
      }
      const command = call.view.getUint32(offsets.cmd, true);
      domain.statistics.countOperation(HYPERVISOR.mmuext_op, command);
      const first = call.view.getBigUint64(offsets.arg1, true);
      const second = call.view.getBigUint64(offsets.arg2, true);
      status = paging.mmuext(vcpu.mmuext, owner, command, first, second);
      if (status !== 0) break;
      if (command === MMUEXT.NEW_BASEPTR) vcpu.loadRoot();
    }
    if (donePointer !== 0n) {
      doneView.setUint32(0, before + index, true);
      call.bytes.set(done);
      if (!call.store(donePointer, 4) && status === 0) status = -XEN_ERRNO.EFAULT;
    }
    if (status === 0 && index < count) {
      call.args[0] = address + BigInt(index * size);
      call.args[1] = BigInt(((count - index) | PREEMPTED) >>> 0);
      call.again = true;
      return undefined;
    }
    return status;
  },
};
