import { HYPERVISOR, layout, XEN_ERRNO } from "@paravirt/xen-abi";
import { guestLoad, guestStore, isGuestRange } from "../guest-memory.ts";
import type { Hypercall } from "../hypercall.ts";

const { size, offsets } = layout("multicall_entry", "x86_64");
/** Entries after which the guest gets its events. */
const PREEMPT_AFTER = 1024;

const entry = new Uint8Array(size);
const view = new DataView(entry.buffer);
const result = new Uint8Array(8);
const resultView = new DataView(result.buffer);

/** Carries out several hypercalls, and writes each one's result behind it. */
export const multicall: Hypercall = {
  number: HYPERVISOR.multicall,
  name: "multicall",
  support: "full",
  handle(call) {
    if (call.inMulticall) return -XEN_ERRNO.EINVAL;
    const { vcpu, domain } = call;
    const inner = call.batched;
    const list = call.arg(0);
    const count = call.u32(1);
    if (!isGuestRange(list, count * size)) return -XEN_ERRNO.EFAULT;
    for (let index = 0; index < count; index++) {
      const address = list + BigInt(index * size);
      if (index === PREEMPT_AFTER) return again(index, address);
      if (!guestLoad(vcpu, address, entry, size)) return -XEN_ERRNO.EFAULT;
      const high = view.getUint32(offsets.op + 4, true);
      const number = high === 0 ? Math.min(view.getUint32(offsets.op, true), 64) : 64;
      for (let word = 0; word < 12; word++) inner.words[word] = view.getUint32(offsets.args + word * 4, true);
      inner.vcpu = vcpu;
      inner.domain = domain;
      inner.again = false;
      const answer = inner.perform(number);
      if (domain.shutdown !== undefined) return 0;
      if (inner.again) {
        // What is left of the entry goes back into it, and the batch is continued from there.
        for (let word = 0; word < 12; word++)
          view.setUint32(offsets.args + word * 4, inner.words[word] as number, true);
        if (!guestStore(vcpu, address, entry, size)) return -XEN_ERRNO.EFAULT;
        return again(index, address);
      }
      // iret ends the batch: the registers are another context's now.
      if (answer === undefined) return undefined;
      resultView.setBigInt64(0, BigInt.asIntN(64, BigInt(answer)), true);
      if (!guestStore(vcpu, address + BigInt(offsets.result), result, 8)) return -XEN_ERRNO.EFAULT;
    }
    return 0;

    function again(index: number, address: bigint): undefined {
      call.args[0] = address;
      call.args[1] = BigInt(count - index);
      call.again = true;
    }
  },
};
