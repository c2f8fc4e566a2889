import { EXIT } from "@paravirt/cpu";
import { PAGE_TYPE } from "@paravirt/paging";
import { VMASST } from "@paravirt/xen-abi";
import type { VirtualCpu } from "./virtual-cpu.ts";

const PF_PRESENT = 1;
const PF_WRITE = 2;
const PF_RESERVED = 8;
const PF_FETCH = 16;
const QUADS = 512;

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
  const { bytes, quads, words } = machine.memory;
  const scratch = machine.scratchMfn;
  bytes.copyWithin(scratch * 4096, table * 4096, table * 4096 + 4096);

  savedRegisters.set(cpu.regs.subarray(0, 16));
  const { rip, rflags } = cpu;
  const exit = cpu.stepOverlaid(address & ~0xfffn, scratch);
  let applied = exit.reason === EXIT.BUDGET;
  if (applied) {
    const first = scratch * QUADS;
    const live = table * QUADS;
    for (let index = 0; index < QUADS; index++) {
      if (quads[first + index] === quads[live + index]) continue;
      const at = (first + index) * 2;
      const old = (live + index) * 2;
      const status = machine.paging.emulateTableWrite(
        domain.memory,
        table * 4096 + index * 8,
        words[old] as number,
        words[old + 1] as number,
        words[at] as number,
        words[at + 1] as number,
      );
      if (status !== 0) {
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
