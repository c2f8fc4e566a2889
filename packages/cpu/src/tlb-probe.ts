import type { CodeEmitter } from "@paravirt/wasm-emit";
import { ACCESS, TLB } from "./layout.ts";

/** Pushes where, from the start of an array of the TLB, the slot for the i64 local `address` is (i32). */
export function emitTlbSlot(e: CodeEmitter, address: number): void {
  e.get(address)
    .op("i32_wrap_i64")
    .i32(8)
    .op("i32_shr_u")
    .i32((TLB.entries - 1) * TLB.entryBytes)
    .op("i32_and");
}

/**
 * Emits the look into the TLB that both tiers do for an access of `size` bytes at the i64 local `address`: one compare
 * catches a miss and a page crossing, or for `aligned` accesses a miss and an address that is no multiple of their size,
 * upon which `onMiss` takes the i32 on the stack and leaves. Returns an i32 temporary that holds the machine address.
 */
export function emitTlbProbe(
  e: CodeEmitter,
  probe: {
    readonly tlb: number;
    readonly address: number;
    readonly size: number;
    readonly access: number;
    readonly aligned?: boolean;
  },
  onMiss: () => void,
): number {
  const { tlb, address, size, access, aligned = false } = probe;
  const entry = e.temporary("i32");
  const host = e.temporary("i32");
  const array = access === ACCESS.WRITE ? TLB.write : TLB.read;
  emitTlbSlot(e, address);
  e.get(tlb).op("i32_add").tee(entry).mem("i64_load", array);
  e.get(address);
  // An aligned access crosses no page; the address bits below its size, kept, make a misaligned one differ.
  if (size > 1 && !aligned) e.i64(size - 1).op("i64_add");
  e.i64(aligned ? -4096 + size - 1 : -4096)
    .op("i64_and")
    .op("i64_ne");
  onMiss();
  e.get(address)
    .op("i32_wrap_i64")
    .get(entry)
    .mem("i32_load", array + 8)
    .op("i32_add")
    .set(host);
  e.release("i32", entry);
  return host;
}
