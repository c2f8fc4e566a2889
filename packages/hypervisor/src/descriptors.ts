import { FIRST_RESERVED_GDT_ENTRY } from "@paravirt/xen-abi";
import { guestLoad } from "./guest-memory.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

/** Xen's own descriptors that a guest may load, by selector without RPL: flat user segments at DPL 3. */
const RESERVED_DESCRIPTORS: ReadonlyMap<number, bigint> = new Map([
  [0xe020, 0x00cf_fb00_0000_ffffn],
  [0xe028, 0x00cf_f300_0000_ffffn],
  [0xe030, 0x00af_fb00_0000_ffffn],
]);

const ldtEntry = new Uint8Array(8);
const ldtView = new DataView(ldtEntry.buffer);

/** The descriptor a selector names, in the guest's GDT or LDT or Xen's reserved entries; undefined past their limits. */
export function readDescriptor(vcpu: VirtualCpu, selector: number): bigint | undefined {
  const index = selector >> 3;
  if ((selector & 4) !== 0) {
    if (index >= vcpu.ldtEntries) return undefined;
    if (!guestLoad(vcpu, vcpu.ldtBase + BigInt(index * 8), ldtEntry, 8)) return undefined;
    return ldtView.getBigUint64(0, true);
  }
  if (index >= FIRST_RESERVED_GDT_ENTRY) return RESERVED_DESCRIPTORS.get(selector & 0xfff8);
  if (index >= vcpu.gdtEntries) return undefined;
  const frame = vcpu.gdtFrames[index >> 9];
  if (frame === undefined) return undefined;
  return vcpu.domain.machine.memory.quads[frame * 512 + (index & 511)];
}

/** Present, code, DPL 3. */
export function isLoadableCode(descriptor: bigint): boolean {
  const access = Number((descriptor >> 40n) & 0xffn);
  return (access & 0x98) === 0x98 && (access & 0x60) === 0x60;
}

/** Present, writable data, DPL 3. */
export function isLoadableStack(descriptor: bigint): boolean {
  const access = Number((descriptor >> 40n) & 0xffn);
  return (access & 0x9a) === 0x92 && (access & 0x60) === 0x60;
}

/** Whether a code descriptor's L bit is set. */
export function isLongMode(descriptor: bigint): boolean {
  return ((descriptor >> 53n) & 1n) !== 0n;
}
