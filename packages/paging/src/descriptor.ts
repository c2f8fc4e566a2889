import { FIRST_RESERVED_GDT_ENTRY, FLAT } from "@paravirt/xen-abi";

// Segment descriptors as a PV guest may put them into its GDT or LDT (Intel SDM 3A 3.4.5, 5.8.3).
const PRESENT = 0x8000;
const CODE_OR_DATA = 0x1000;
const DPL_SHIFT = 13;
const DPL = 0x6000;
const TYPE = 0x0f00;
const CALL_GATE = 0x0c00;

/**
 * Checks one descriptor, given as its two words, as Xen's `check_descriptor` does, and lowers its privilege in place
 * where the guest asked for more than it has: segments get DPL 3 (everything runs at CPL 3), call gates DPL 0 so that
 * their use faults and can be emulated. `false` refuses it: system segments and gates other than call gates.
 */
export function validDescriptor(words: Uint32Array): boolean {
  const low = words[0]!;
  const high = words[1]!;
  // One that isn't present faults whenever it is used.
  if ((high & PRESENT) === 0) return true;
  if ((high & CODE_OR_DATA) !== 0) {
    words[1] = high | (3 << DPL_SHIFT);
    return true;
  }
  // Type 0 is the second half of a 64-bit call gate: harmless.
  if ((high & TYPE) === 0) return true;
  if ((high & TYPE) !== CALL_GATE) return false;
  const selector = low >>> 16;
  const mayTarget = selector >>> 3 < FIRST_RESERVED_GDT_ENTRY || (selector & 4) !== 0 || selector === FLAT.KERNEL_CS;
  if (!mayTarget || (high & 0xff) !== 0) return false;
  // The selector's RPL keeps the DPL that the gate should have had.
  words[0] = (low & 0xffff) | ((selector | 3) << 16);
  words[1] = high & ~DPL;
  return true;
}
