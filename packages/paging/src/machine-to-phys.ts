import { DOMID } from "@paravirt/xen-abi";
import { allocateXenFrame } from "./frames.ts";
import { PTE } from "./pte.ts";
import { bug, PAGE_TYPE, type PagingState } from "./state.ts";

const TABLE_FLAGS = PTE.PRESENT | PTE.USER | PTE.ACCESSED;
const ENTRIES_PER_FRAME = 512;

/**
 * Builds the M2P table, one 8-byte PFN for each machine frame, and the tables that show it at 0xffff800000000000 in
 * every PV address space. The leaves are read-only, not executable, and USER: a PV kernel runs at CPL 3.
 */
export function buildMachineToPhys(s: PagingState): void {
  const count = Math.ceil(s.frames / ENTRIES_PER_FRAME);
  const first = xenFrame(s);
  for (let i = 1; i < count; i++) if (xenFrame(s) !== first + i) bug("the M2P table is not contiguous");
  s.m2pFrame = first;
  s.m2pFrames = count;
  // All ones: INVALID_M2P_ENTRY, for frames that are nobody's.
  s.memory.bytes.fill(0xff, first * 4096, (first + count) * 4096);
  for (let i = 0; i < count; i++) s.guard.setReadableByAll(first + i, true);

  // 4 GiB of frames need 8 MiB of table, four L2 entries: one L3 and one L2 are always enough.
  const l3 = xenFrame(s);
  const l2 = xenFrame(s);
  link(s, l3, 0, l2);
  for (let from = 0, slot = 0; from < count; from += 512, slot++) {
    const l1 = xenFrame(s);
    link(s, l2, slot, l1);
    for (let i = 0; i < 512 && from + i < count; i++) {
      link(s, l1, i, first + from + i);
      s.words[l1 * 1024 + i * 2 + 1]! |= PTE.HIGH_NX;
    }
  }
  s.m2pL3 = l3;
}

function xenFrame(s: PagingState): number {
  const mfn = allocateXenFrame(s, DOMID.XEN);
  if (mfn === 0) bug("no frame left for the M2P table");
  // A reference of type NONE for ever: nobody, however privileged, can map it writable or use it as a table.
  s.type[mfn] = PAGE_TYPE.NONE;
  s.typeRefs[mfn] = 1;
  return mfn;
}

function link(s: PagingState, table: number, index: number, mfn: number): void {
  s.words[table * 1024 + index * 2] = (mfn << 12) | TABLE_FLAGS;
  s.words[table * 1024 + index * 2 + 1] = 0;
}
