import type { SimdName } from "@paravirt/wasm-emit";
import type { Definition, Shape } from "../definition.ts";
import { ACCESS, ENGINE } from "../layout.ts";
import type { Lowering, Place } from "../lowering.ts";
import { BytesPlace } from "../tier0/lowering.ts";
import { byHalves, halvesOf, requireAvx } from "./avx-operands.ts";
import { pushZero } from "./simd-operands.ts";

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

const REPLACE_LANE = { 4: "i32x4_replace_lane", 8: "i64x2_replace_lane" } as const;

/**
 * Gathers elements of `size` bytes by indices of `indexSize` bytes. JavaScript does one element after the other and keeps
 * what came before a fault; translated code does all of them, or leaves before it has changed anything.
 */
function gather(name: string, shapes: readonly string[], indexSize: 4 | 8, size: 4 | 8): Definition {
  const lane = size === 4 ? "i32" : "i64";
  return {
    name,
    shapes,
    access: "",
    translated: true,
    emit(c, operands, shape) {
      const { e } = c;
      requireAvx(c);
      const index = c.vectorIndex;
      if (index === undefined) {
        c.service();
        // Only this code needs JavaScript.
        c.reachable();
        return;
      }
      const [destination, , mask] = operands as [Place, Place, Place];
      const of = (place: Place, width: number, number: number): [Place, number] => {
        const lanes = 16 / width;
        return [number < lanes ? place : place.upper(), number % lanes];
      };
      const count = gathered(c, shape, indexSize, size);
      const halves = Math.ceil((count * size) / 16);
      const results = Array.from({ length: halves }, (_, half) => {
        const result = e.temporary("v128");
        (half === 0 ? destination : destination.upper()).vector();
        e.set(result);
        return result;
      });
      const [start, address] = [e.temporary("i64"), e.temporary("i64")];
      c.effectiveAddress(true);
      e.set(start);
      for (let number = 0; number < count; number++) {
        const [maskHalf, maskLane] = of(mask, size, number);
        maskHalf.lane(lane, maskLane);
        if (size === 4) e.i32(0).op("i32_lt_s").if();
        else e.i64(0).op("i64_lt_s").if();
        const [indexHalf, indexLane] = of(index.place, indexSize, number);
        e.get(start);
        indexHalf.lane(indexSize === 4 ? "i32" : "i64", indexLane);
        if (indexSize === 4) e.op("i64_extend_i32_s");
        e.i64(index.scale).op("i64_shl").op("i64_add");
        c.wrap();
        e.set(address);
        const host = c.translate(address, size, ACCESS.READ);
        const result = results[Math.floor((number * size) / 16)]!;
        e.get(result)
          .get(host)
          .mem(size === 4 ? "i32_load" : "i64_load")
          .lane(REPLACE_LANE[size], number % (16 / size))
          .set(result);
        e.end();
      }
      e.release("i64", start, address);
      destination.storeVector(() => {
        e.get(results[0]!);
        if (count * size < 16) e.i64(0).lane("i64x2_replace_lane", 1);
      });
      destination.upper().storeVector(() => {
        if (results[1] === undefined) pushZero(e);
        else e.get(results[1]);
      });
      mask.storeVector(() => pushZero(e));
      mask.upper().storeVector(() => pushZero(e));
      e.release("v128", ...results);
    },
  };
}

/** How many elements are gathered: as many as the wider of indices and elements leaves room for. */
function gathered(c: Lowering, shape: Shape, indexSize: 4 | 8, size: 4 | 8): number {
  // Elements half as wide as their indices fill an XMM register, whatever the length.
  const wide = indexSize > size ? c.vectorIndex!.wide : shape.letters[0] === "y";
  return (wide ? 32 : 16) / Math.max(indexSize, size);
}

const BY_WIDTH = { 4: ["xm4x", "ym4y"], 8: ["xm8x", "ym8y"] } as const;

/** Masked moves and gathers. */
export const avxMemoryDefinitions = (): readonly Definition[] => [
  masked("vmaskmovps", 4),
  masked("vmaskmovpd", 8),
  masked("vpmaskmovd", 4),
  masked("vpmaskmovq", 8),
  gather("vpgatherdd", BY_WIDTH[4], 4, 4),
  gather("vpgatherdq", BY_WIDTH[8], 4, 8),
  gather("vpgatherqd", ["xm4x"], 8, 4),
  gather("vpgatherqq", BY_WIDTH[8], 8, 8),
  gather("vgatherdps", BY_WIDTH[4], 4, 4),
  gather("vgatherdpd", BY_WIDTH[8], 4, 8),
  gather("vgatherqps", ["xm4x"], 8, 4),
  gather("vgatherqpd", BY_WIDTH[8], 8, 8),
];
