import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PTE } from "./pte.ts";
import { countTables, createTableBuilder } from "./table-builder.ts";
import { createTestMemory } from "./test-machine.ts";
import { type PagingFormat, type TableMemory, type WalkAccess, walk } from "./walk.ts";

const { PRESENT: P, WRITABLE: W, USER: U, PSE, GLOBAL: G, ACCESSED: A, DIRTY: D } = PTE;
const NX = 1n << 63n;

/** Page tables given as [physical address, entry] pairs; everything else reads as 0. */
function memoryOf(bytes: 4 | 8, ...entries: readonly (readonly [number, number | bigint])[]): TableMemory {
  const words = new Map<number, number>();
  for (const [address, entry] of entries) {
    words.set(address, Number(BigInt.asUintN(32, BigInt(entry))));
    if (bytes === 8) words.set(address + 4, Number(BigInt(entry) >> 32n));
  }
  return { read32: (address) => words.get(address) ?? 0 };
}

/** A 4-level path for linear 0x80_4020_1abc: index 1 at every level, tables at 0x1000, 0x2000, 0x3000, 0x4000. */
const LINEAR = 0x80_4020_1abcn;
function four(flags: readonly (number | bigint)[], leaf: number | bigint = 0x9000): TableMemory {
  const next = [0x2000, 0x3000, 0x4000, leaf];
  return memoryOf(8, ...flags.map((flag, i) => [0x1008 + i * 0x1000, BigInt(next[i]!) | BigInt(flag)] as const));
}

describe("4-level", () => {
  test("a 4 KiB page: address, rights of all levels together, flags of the leaf", () => {
    const hit = walk(four([P | W | U, P | W | U, P | W, P | W | U | G | A | D]), "4-level", 0x1018, LINEAR);
    expect(hit).toEqual({
      ok: true,
      physical: 0x9abc,
      pageSize: 4096,
      level: 1,
      entryAddress: 0x4008,
      writable: true,
      user: false,
      executable: true,
      global: true,
      accessed: true,
      dirty: true,
    });
  });

  test.each([
    [3, 2 ** 30, 0x4000_0000n, 0x4020_1abc],
    [2, 2 ** 21, 0x4020_0000n, 0x4020_1abc],
  ] as const)("a large page at level %i maps %i bytes", (level, size, base, physical) => {
    const flags = [P | W | U, P | W | U, P | W | U].slice(0, 4 - level);
    const memory = four([...flags, BigInt(P | U | PSE) | base | 0x1000n]);
    const table = [0, 0, 0x3000, 0x2000][level]! + 8;
    const large = { read32: (at: number) => (at === table ? P | U | PSE | Number(base) | 0x1000 : memory.read32(at)) };
    expect(walk(large, "4-level", 0x1000, LINEAR)).toMatchObject({ ok: true, physical, pageSize: size, level });
  });

  test.each<[string, (number | bigint)[], WalkAccess, number, number]>([
    ["not present at level 4", [0, P, P, P], {}, 0, 4],
    ["not present at level 2, a user's write", [P, P, 0, P], { user: true, write: true }, 6, 2],
    ["a user's read of a supervisor page", [P | U, P, P | U, P | U], { user: true }, 5, 1],
    ["a write to a read-only page", [P | W, P, P | W, P | W], { write: true }, 3, 1],
    ["a fetch from a page that NX forbids at level 3", [P, BigInt(P) | NX, P, P], { execute: true }, 17, 1],
    ["NX while EFER.NXE is off", [P, P, P, BigInt(P) | NX], { noExecute: false, execute: true }, 9, 1],
    ["PSE in a level 4 entry", [P | PSE, P, P, P], {}, 9, 4],
    ["an address beyond the physical width", [P, P, P, BigInt(P) | (1n << 46n)], { write: true }, 11, 1],
    ["bit 13 of a 2 MiB page", [P, P, P | PSE | 0x2000, 0], {}, 9, 2],
    ["bit 13 of a 1 GiB page", [P, P | PSE | 0x2000, 0, 0], {}, 9, 3],
  ])("%s", (_name, flags, access, errorCode, level) => {
    const fault = walk(four(flags), "4-level", 0x1000, LINEAR, access);
    expect(fault).toEqual({ ok: false, errorCode, level, entryAddress: 0x1008 + (4 - level) * 0x1000 });
  });

  test("CR0.WP off lets the supervisor, and only it, write to read-only pages", () => {
    const memory = four([P | U, P | U, P | U, P | U]);
    expect(walk(memory, "4-level", 0x1000, LINEAR, { write: true, writeProtect: false }).ok).toBe(true);
    expect(walk(memory, "4-level", 0x1000, LINEAR, { write: true, user: true, writeProtect: false }).ok).toBe(false);
  });

  test("an address that isn't canonical faults at level 0, before any table is read", () => {
    const fault = walk({ read32: () => undefined }, "4-level", 0x1000, 0x8000_0000_0000n);
    expect(fault).toEqual({ ok: false, errorCode: 0, level: 0, entryAddress: 0 });
  });

  test("a table outside of memory is not present", () => {
    expect(walk({ read32: () => undefined }, "4-level", 0x1000, 0n)).toMatchObject({
      ok: false,
      errorCode: 0,
      level: 4,
    });
  });
});

describe("PAE", () => {
  // CR3 0x1020: the four pointers needn't begin a page. Linear 0xC060_1234: index 3, 3, 1.
  const pae = (pointer: number | bigint, l2: number | bigint, l1: number | bigint = 0): TableMemory =>
    memoryOf(8, [0x1038, pointer], [0x2018, l2], [0x3008, l1]);
  test("three levels; the pointers carry no rights", () => {
    const hit = walk(pae(0x2001, 0x3000 | P | W | U, 0x5_0000_0000n | BigInt(P | W | U)), "pae", 0x1020, 0xc060_1234n, {
      user: true,
      write: true,
    });
    expect(hit).toMatchObject({ ok: true, physical: 0x5_0000_0234, level: 1 });
  });
  test("a 2 MiB page", () => {
    const hit = walk(pae(0x2001, 0x4000_0000 | P | PSE), "pae", 0x1020, 0xc060_1234n);
    expect(hit).toMatchObject({ ok: true, physical: 0x4000_1234, pageSize: 2 ** 21, level: 2 });
  });
  test.each<[string, number | bigint, number | bigint, number]>([
    ["R/W in a pointer", 0x2003, 0, 3],
    ["NX in a pointer", 0x2001n | NX, 0, 3],
    ["bit 52 of an entry", 0x2001, BigInt(0x3000 | P) | (1n << 52n), 2],
  ])("%s is reserved", (_name, pointer, l2, level) => {
    expect(walk(pae(pointer, l2), "pae", 0x1020, 0xc060_1234n)).toMatchObject({ errorCode: 9, level });
  });
});

describe("2-level", () => {
  // Linear 0x0040_1234: index 1 and 1.
  const two = (l2: number, l1 = 0): TableMemory => memoryOf(4, [0x1004, l2], [0x2004, l1]);
  test("a 4 KiB page", () => {
    const hit = walk(two(0x2000 | P | W, 0xffff_f000 | P | W), "2-level", 0x1fff, 0x40_1234n, { write: true });
    expect(hit).toMatchObject({ ok: true, physical: 0xffff_f234, executable: true });
  });
  test("a 4 MiB page with the upper address bits of PSE-36", () => {
    const l2 = 0xff80_0000 | (5 << 13) | P | PSE;
    expect(walk(two(l2), "2-level", 0x1000, 0x40_1234n)).toMatchObject({ physical: 0x5_ff80_1234, pageSize: 2 ** 22 });
    expect(walk(two(l2 | (1 << 21)), "2-level", 0x1000, 0x40_1234n)).toMatchObject({ errorCode: 9, level: 2 });
  });
  test("without CR4.PSE bit 7 means nothing", () => {
    const memory = two(0x2000 | P | PSE, 0x7000 | P);
    expect(walk(memory, "2-level", 0x1000, 0x40_1234n, { pageSizeExtension: false })).toMatchObject({
      physical: 0x7234,
    });
  });
  test("fetches leave no mark in the error code: there is no NX", () => {
    expect(walk(two(0), "2-level", 0x1000, 0x40_1234n, { execute: true })).toMatchObject({ errorCode: 0 });
  });
});

test("any memory and any access end in a hit inside of 52 bits or in a fault with the request's bits", () => {
  fc.assert(
    fc.property(
      fc.constantFrom<PagingFormat>("4-level", "pae", "2-level"),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.array(fc.integer({ min: 0, max: 0xffff_ffff }), { minLength: 4, maxLength: 16 }),
      fc.boolean(),
      fc.boolean(),
      (format, address, words, write, user) => {
        const memory = { read32: (at: number) => words[(at / 4) % words.length] };
        const result = walk(memory, format, 0x1000, address, { write, user, physicalBits: 52 });
        if (result.ok) {
          expect(result.physical).toBeLessThan(2 ** 52);
          expect(Number.isSafeInteger(result.physical)).toBe(true);
          if (user) expect(result.user).toBe(true);
          if (write) expect(result.writable).toBe(true);
        } else expect(result.errorCode & 6).toBe((write ? 2 : 0) | (user ? 4 : 0));
      },
    ),
  );
});

test("what the table builder writes, the walk reads, and countTables knows how many tables it took", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 36 - 4 }), fc.integer({ min: 1, max: 3 }), (page, pages) => {
      const memory = createTestMemory(64);
      let next = 21;
      const builder = createTableBuilder({ memory, root: 20, allocateTable: () => next++ });
      const from = BigInt.asUintN(64, BigInt.asIntN(48, BigInt(page) << 12n));
      const crosses =
        BigInt.asIntN(48, BigInt(page) << 12n) < 0n !== BigInt.asIntN(48, BigInt(page + pages - 1) << 12n) < 0n;
      fc.pre(!crosses);
      for (let i = 0; i < pages; i++) builder.map(from + BigInt(i * 4096), 50 + i, P | W | U);
      const { l3, l2, l1 } = countTables(from, from + BigInt(pages * 4096));
      expect(next - 21).toBe(l3 + l2 + l1);
      const tables = { read32: (at: number) => memory.words[at / 4] };
      for (let i = 0; i < pages; i++) {
        const address = from + BigInt(i * 4096) + 5n;
        const hit = walk(tables, "4-level", 20 * 4096, address, { user: true, write: true });
        expect(hit).toMatchObject({ ok: true, physical: (50 + i) * 4096 + 5 });
        if (hit.ok) expect(builder.entryAddress(address & ~0xfffn)).toBe(hit.entryAddress);
      }
    }),
    { numRuns: 50 },
  );
});
