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
  cpu.setSyscallRegisters();
  // Halves: a hypercall makes no bigint that its handler does not ask for.
  const words = cpu.regWords;
  const { words: args } = call;
  for (let i = 0; i < 6; i++) {
    const register = (ARGUMENT_REGISTERS[i] as number) * 2;
    args[i * 2] = words[register] as number;
    args[i * 2 + 1] = words[register + 1] as number;
  }
  const low = words[REG.RAX * 2] as number;
  const number = words[REG.RAX * 2 + 1] === 0 && low < 64 ? low : 64;
  const slot = history.begin(number);
  for (let i = 0; i < 12; i++) history.words[slot * 12 + i] = args[i] as number;
  call.vcpu = vcpu;
  call.domain = vcpu.domain;
  call.batched = batched;
  call.again = false;
  const result = call.perform(number);
  if (call.again) {
    // As Xen's continuations: the guest issues the call once more, with what is left to do.
    const { regs } = cpu;
    for (let i = 0; i < 6; i++) regs[ARGUMENT_REGISTERS[i] as number] = call.args[i] as bigint;
    cpu.rip -= SYSCALL_BYTES;
    return;
  }
  if (result === undefined) return;
  if (typeof result === "bigint") {
    cpu.regs[REG.RAX] = result;
    history.finishWide(slot, result);
  } else {
    const answer = cpu.regWords;
    answer[REG.RAX * 2] = result;
    answer[REG.RAX * 2 + 1] = Math.floor(result / 0x1_0000_0000);
    history.finish(slot, result);
  }
}
