import { HYPERVISOR, layout, XEN_ERRNO } from "@paravirt/xen-abi";
import { guestLoad, guestSpan, guestStore, isGuestRange } from "../guest-memory.ts";
import type { Hypercall, HypercallContext } from "../hypercall.ts";
import type { VirtualCpu } from "../virtual-cpu.ts";

const { size, offsets } = layout("multicall_entry", "x86_64");
/** Fields of an entry, in 32-bit words. */
const OP = offsets.op / 4;
const ARGS = offsets.args / 4;
const RESULT = offsets.result / 4;
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
    const low = call.words[0] as number;
    const high = call.words[1] as number;
    for (let index = 0; index < count; index++) {
      if (index === PREEMPT_AFTER) return again(index);
      const number = fetchEntry(call, low + index * size, high);
      if (number < 0) return -XEN_ERRNO.EFAULT;
      inner.vcpu = vcpu;
      inner.domain = domain;
      inner.again = false;
      const answer = inner.perform(number);
      if (domain.shutdown !== undefined) return 0;
      if (inner.again) {
        // What is left of the entry goes back into it, and the batch is continued from there.
        const address = list + BigInt(index * size);
        if (!guestLoad(vcpu, address, entry, size)) return -XEN_ERRNO.EFAULT;
        for (let word = 0; word < 12; word++)
          view.setUint32(offsets.args + word * 4, inner.words[word] as number, true);
        if (!guestStore(vcpu, address, entry, size)) return -XEN_ERRNO.EFAULT;
        return again(index);
      }
      // iret ends the batch: the registers are another context's now.
      if (answer === undefined) return undefined;
      if (!storeResult(call, low + index * size, high, answer)) return -XEN_ERRNO.EFAULT;
    }
    return 0;

    function again(index: number): undefined {
      call.args[0] = list + BigInt(index * size);
      call.args[1] = BigInt(count - index);
      call.again = true;
    }
  },
};

/** Address in the batch as a bigint: `low` may have grown past 32 bits. */
function addressOf(low: number, high: number): bigint {
  return (BigInt(high) << 32n) + BigInt(low);
}

/** Machine address of an entry within one page, 0 for one that must be copied piece by piece. */
function wholeEntry(vcpu: VirtualCpu, low: number, high: number): number {
  return low <= 0xffff_ffff ? guestSpan(vcpu, low, high, size, true) : 0;
}

/** Copies an entry's arguments to the inner call, and answers the call's number; -1 means -EFAULT. */
function fetchEntry(call: HypercallContext, low: number, high: number): number {
  const { words: args } = call.batched;
  const at = wholeEntry(call.vcpu, low, high) / 4;
  if (at !== 0) {
    const { words } = call.machine.memory;
    for (let word = 0; word < 12; word++) args[word] = words[at + ARGS + word] as number;
    return words[at + OP + 1] === 0 ? Math.min(words[at + OP] as number, 64) : 64;
  }
  if (!guestLoad(call.vcpu, addressOf(low, high), entry, size)) return -1;
  for (let word = 0; word < 12; word++) args[word] = view.getUint32(offsets.args + word * 4, true);
  return view.getUint32(offsets.op + 4, true) === 0 ? Math.min(view.getUint32(offsets.op, true), 64) : 64;
}

/** Writes an entry's result; the call may have unmapped the entry. */
function storeResult(call: HypercallContext, low: number, high: number, answer: number | bigint): boolean {
  const at = typeof answer === "bigint" ? 0 : wholeEntry(call.vcpu, low, high) / 4;
  if (at === 0 || typeof answer === "bigint") {
    resultView.setBigInt64(0, BigInt.asIntN(64, BigInt(answer)), true);
    return guestStore(call.vcpu, addressOf(low, high) + BigInt(offsets.result), result, 8);
  }
  const { words } = call.machine.memory;
  words[at + RESULT] = answer;
  words[at + RESULT + 1] = Math.floor(answer / 0x1_0000_0000);
  return true;
}
