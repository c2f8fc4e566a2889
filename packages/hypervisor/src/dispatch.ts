import type { HypercallContext } from "./hypercall.ts";
import { REG } from "./traps.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

/** Bytes of `syscall`: a call that is to be issued again goes back by as many. */
const SYSCALL_BYTES = 2n;
/** Where arguments 0 to 5 are: RDI RSI RDX R10 R8 R9. */
const ARGUMENT_REGISTERS = [REG.RDI, REG.RSI, REG.RDX, REG.R10, REG.R8, REG.R9] as const;

/** Carries out the hypercall in a VCPU's registers; RIP is after its `syscall`. */
export function dispatchHypercall(vcpu: VirtualCpu, call: HypercallContext, batched: HypercallContext): void {
  const { cpu, history } = vcpu;
  let { regs } = cpu;
  regs[REG.RCX] = cpu.rip;
  regs[REG.R11] = cpu.rflags;
  for (let i = 0; i < 6; i++) call.args[i] = regs[ARGUMENT_REGISTERS[i] as number] as bigint;
  const rax = regs[REG.RAX] as bigint;
  const number = rax < 64n ? Number(rax) : 64;
  const slot = history.begin(number);
  history.words.set(call.words, slot * 12);
  call.vcpu = vcpu;
  call.domain = vcpu.domain;
  call.batched = batched;
  call.again = false;
  const result = call.perform(number);
  if (call.again) {
    // As Xen's continuations: the guest issues the call once more, with what is left to do.
    regs = cpu.regs;
    for (let i = 0; i < 6; i++) regs[ARGUMENT_REGISTERS[i] as number] = call.args[i] as bigint;
    cpu.rip -= SYSCALL_BYTES;
    return;
  }
  if (result === undefined) return;
  regs = cpu.regs;
  if (typeof result === "bigint") {
    regs[REG.RAX] = BigInt.asUintN(64, result);
    history.finishWide(slot, result);
  } else {
    regs[REG.RAX] = BigInt.asUintN(64, BigInt(result));
    history.finish(slot, result);
  }
}
