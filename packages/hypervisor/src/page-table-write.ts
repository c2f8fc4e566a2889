import { EXIT } from "@paravirt/cpu";
import { PAGE_TYPE } from "@paravirt/paging";
import { VMASST } from "@paravirt/xen-abi";
import type { VirtualCpu } from "./virtual-cpu.ts";

const PF_PRESENT = 1;
const PF_WRITE = 2;
const PF_RESERVED = 8;
const PF_FETCH = 16;
/** 32-bit words of a table. */
const WORDS = 1024;

const savedRegisters = new BigUint64Array(16);

/**
 * Emulates a guest kernel's write to one of its own L1 tables, which it can only map read-only (Xen's ptwr). The
 * instruction runs on a copy of the table; what it changed is then asked of paging like an mmu_update. `false`, with
 * nothing changed, when the fault is another one or the change is refused: the guest gets its page fault.
 */
export function emulatePageTableWrite(vcpu: VirtualCpu, address: bigint, errorCode: number): boolean {
  const { cpu, domain } = vcpu;
  if (!vcpu.kernelMode || (errorCode & (PF_PRESENT | PF_WRITE | PF_RESERVED | PF_FETCH)) !== (PF_PRESENT | PF_WRITE))
    return false;
  if ((domain.vmAssist & (1 << VMASST.writable_pagetables)) === 0) return false;
  const { machine } = domain;
  const readable = cpu.translate(address, false);
  if (readable === 0) return false;
  const table = Math.floor(readable / 4096);
  const info = machine.paging.frameInfo(table);
  if (info === undefined || info.owner !== domain.id || info.type !== PAGE_TYPE.L1) return false;
  const { bytes, words } = machine.memory;
  const scratch = machine.scratchMfn;
  bytes.copyWithin(scratch * 4096, table * 4096, table * 4096 + 4096);

  savedRegisters.set(cpu.regs.subarray(0, 16));
  const { rip, rflags } = cpu;
  const exit = cpu.stepOverlaid(address & ~0xfffn, scratch);
  let applied = exit.reason === EXIT.BUDGET;
  if (applied) {
    const first = scratch * WORDS;
    const live = table * WORDS;
    for (let word = 0; word < WORDS; word += 2) {
      const low = words[first + word] as number;
      const high = words[first + word + 1] as number;
      const oldLow = words[live + word] as number;
      const oldHigh = words[live + word + 1] as number;
      if (low === oldLow && high === oldHigh) continue;
      const entry = table * 4096 + word * 4;
      if (machine.paging.emulateTableWrite(domain.memory, entry, oldLow, oldHigh, low, high) !== 0) {
        applied = false;
        break;
      }
    }
  }
  if (applied) return true;
  cpu.regs.set(savedRegisters);
  cpu.rip = rip;
  cpu.rflags = rflags;
  return false;
}
