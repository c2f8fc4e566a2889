import type { SimdName } from "@paravirt/wasm-emit";
import type { Definition } from "../definition.ts";
import { ACCESS, ENGINE } from "../layout.ts";
import type { Lowering, Place } from "../lowering.ts";
import { BytesPlace } from "../tier0/lowering.ts";
import { byHalves, halvesOf, requireAvx, vexService } from "./avx-operands.ts";

/** Pushes all ones in the lanes of a half's mask that have their sign set. */
function pushSigns(c: Lowering, mask: Place, size: 4 | 8): void {
  mask.vector();
  c.e.i32(size * 8 - 1).simd(size === 4 ? "i32x4_shr_s" : "i64x2_shr_s");
}

/**
 * VMASKMOVPS and its like. Lanes that the mask leaves out are not accessed: where memory can't be reached as a whole, or
 * some lanes are left out and this code must do all, JavaScript goes lane by lane.
 */
function masked(name: string, size: 4 | 8): Definition {
  const bitmask: SimdName = size === 4 ? "i32x4_bitmask" : "i64x2_bitmask";
  const all = size === 4 ? 0xf : 3;
  return {
    name,
    shapes: ["xxm16", "yym32", "m16xx", "m32yy"],
    access: "",
    translated: true,
    emit(c, operands, shape) {
      const { e } = c;
      requireAvx(c);
      const mask = operands[1]!;
      const halves = halvesOf(shape);
      if (c.whole) {
        mask.vector();
        e.simd(bitmask);
        if (halves === 2) {
          mask.upper().vector();
          e.simd(bitmask).op("i32_and");
        }
        e.i32(all).op("i32_ne");
        // Alignment, where it is checked elsewhere, doesn't count here.
        c.state.get32(ENGINE.watch);
        e.op("i32_or").if();
        c.service();
        e.end();
        c.reachable();
      }
      const address = e.temporary("i64");
      c.effectiveAddress(true);
      e.set(address);
      const isStore = shape.memory === 0;
      const host = c.translate(address, halves * 16, isStore ? ACCESS.WRITE : ACCESS.READ);
      e.release("i64", address);
      const memory = new BytesPlace(e, () => e.get(host), false);
      if (!isStore) {
        byHalves(c, operands[0]!, halves, (target, half) =>
          target.storeVector(() => {
            half.of(memory).vector();
            pushSigns(c, half.of(mask), size);
            e.simd("v128_and");
          }),
        );
        return;
      }
      const value = operands[2]!;
      for (let half = 0; half < halves; half++) {
        const of = (place: Place) => (half === 0 ? place : place.upper());
        of(memory).storeVector(() => {
          of(value).vector();
          of(memory).vector();
          pushSigns(c, of(mask), size);
          e.simd("v128_bitselect");
        });
      }
    },
  };
}

/** Gathers: each element has an address of its own, so JavaScript does them. */
const GATHERS: readonly (readonly [name: string, shapes: readonly string[]])[] = [
  ["vpgatherdd", ["xm4x", "ym4y"]],
  ["vpgatherdq", ["xm8x", "ym8y"]],
  ["vpgatherqd", ["xm4x"]],
  ["vpgatherqq", ["xm8x", "ym8y"]],
  ["vgatherdps", ["xm4x", "ym4y"]],
  ["vgatherdpd", ["xm8x", "ym8y"]],
  ["vgatherqps", ["xm4x"]],
  ["vgatherqpd", ["xm8x", "ym8y"]],
];

/** Masked moves and gathers. */
export function avxMemoryDefinitions(): readonly Definition[] {
  return [
    masked("vmaskmovps", 4),
    masked("vmaskmovpd", 8),
    masked("vpmaskmovd", 4),
    masked("vpmaskmovq", 8),
    ...GATHERS.map(([name, shapes]) => vexService(name, shapes)),
  ];
}
