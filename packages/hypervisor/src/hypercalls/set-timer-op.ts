import { HYPERVISOR } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";
import { NEVER } from "../virtual-cpu.ts";

/** A deadline this many ns (2^50, 13 days) away, or past, is taken for a guest's overflow and comes in 100 ms (do_set_timer_op). */
const TOO_FAR = 1n << 50n;
const FALLBACK = 100_000_000n;

/** The one-shot timer in its older form. */
export const setTimerOp: Hypercall = {
  number: HYPERVISOR.set_timer_op,
  name: "set_timer_op",
  support: "full",
  handle(call) {
    const { vcpu } = call;
    const timeout = BigInt.asIntN(64, call.arg(0));
    if (timeout === 0n) {
      vcpu.singleshot = NEVER;
      return 0;
    }
    const now = call.machine.clock.now();
    const strange = timeout < 0n || timeout - now >= TOO_FAR;
    vcpu.singleshot = strange ? now + FALLBACK : timeout;
    return 0;
  },
};
