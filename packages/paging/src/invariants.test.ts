import { MMUEXT } from "@paravirt/xen-abi";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { FrameHolder } from "./audit.ts";
import type { MmuextCaller } from "./mmuext.ts";
import { entryMfn, PTE } from "./pte.ts";
import type { DomainMemory } from "./state.ts";
import { createTestMachine, translate } from "./test-machine.ts";

const { PRESENT: P, WRITABLE: W, USER: U, ACCESSED: A, DIRTY: D } = PTE;
const SLOTS = [0, 1, 2, 256, 300, 511];
const TOP = [0, 300, 511];
const ADDRESSES = TOP.flatMap((l4) =>
  [0, 1, 300].flatMap((l3) =>
    [0, 1, 300].flatMap((l2) =>
      [0, 1, 2].map((l1) => {
        const address = (BigInt(l4) << 39n) | (BigInt(l3) << 30n) | (BigInt(l2) << 21n) | (BigInt(l1) << 12n);
        return BigInt.asUintN(64, BigInt.asIntN(48, address));
      }),
    ),
  ),
);

/** Two domains of a few frames each, so that random frame numbers meet. */
function createWorld() {
  const machine = createTestMachine(64);
  const { memory, paging, tlb } = machine;
  const first = paging.createDomain({ id: 1, maxFrames: 22 });
  const second = paging.createDomain({ id: 2, maxFrames: 8 });
  const pool: number[] = [];
  for (let i = 0; i < 16; i++) pool.push(paging.allocate(first, 0));
  for (let i = 0; i < 4; i++) pool.push(paging.allocate(second, 0));
  const shared = paging.shareXenPage(first, true);
  pool.push(shared, 3, 17, 63);
  // Two trees that share their lower tables, ready to be pinned.
  const [l4a, l4b, l3, l2, l1a, l1b] = pool as [number, number, number, number, number, number];
  const set = (table: number, slot: number, mfn: number, flags: number): void => {
    memory.words[table * 1024 + slot * 2] = (mfn << 12) | flags;
  };
  set(l4a, 0, l3, P | W | A);
  set(l4b, 0, l3, P | W | A);
  set(l3, 0, l2, P | W | A);
  set(l2, 0, l1a, P | W | A);
  set(l2, 1, l1b, P | W | A);
  for (let i = 0; i < 3; i++) set(l1a, i, pool[8 + i]!, P | W | A);
  for (let i = 0; i < 3; i++) set(l1b, i, pool[i]!, P | A);
  const roots = paging.createRoots();
  paging.setKernelRoot(first, roots, l4a);
  paging.setUserRoot(first, roots, l4b);
  const held: { mfn: number; kind: "read" | "write" | "descriptor" }[] = [];
  const caller: MmuextCaller = {
    domain: first,
    roots,
    checkVcpuMask: () => 0,
    setLdt: () => {},
    releaseLdt: () => {},
  };
  const letGo = (index: number): void => {
    const [hold] = held.splice(index, 1);
    if (hold === undefined) return;
    if (hold.kind === "descriptor") paging.putDescriptorPage(hold.mfn);
    else paging.release(hold.mfn, hold.kind === "write");
  };
  first.onDescriptorPageUnmapped = () => {
    for (let i = held.length - 1; i >= 0; i--) if (held[i]!.kind === "descriptor") letGo(i);
  };
  const holders = (): FrameHolder[] => [
    ...[roots.kernel, roots.user].filter((mfn) => mfn !== 0).map((mfn) => ({ mfn, typed: true })),
    ...held.map(({ mfn, kind }) => ({ mfn, typed: kind !== "read" })),
  ];

  /** The rules that must hold after every operation, whatever it was. */
  const check = (): void => {
    expect(paging.audit(holders())).toEqual([]);
    for (const page of tlb.entries.values()) {
      const now = translate(memory, page.root, page.address);
      const root = paging.frameInfo(page.root)!;
      const what = `cached ${page.address.toString(16)} under ${page.root}`;
      expect([what, root.type, root.typeReferences > 0]).toEqual([what, 4, true]);
      expect([what, now?.mfn]).toEqual([what, page.mfn]);
      if (page.writable) expect([what, now?.writable]).toEqual([what, true]);
      if (page.executable) expect([what, now?.executable]).toEqual([what, true]);
      // The processor would set A (and D) at the next access; a cached translation must not hide that.
      const wanted = page.writable ? A | D : A;
      expect([what, memory.words[now!.at[3]!]! & wanted]).toEqual([what, wanted]);
      if (page.writable) expect([what, paging.frameInfo(page.mfn)!.type]).toEqual([what, 6]);
    }
  };
  return { ...machine, first, second, pool, roots, held, caller, letGo, check };
}
type World = ReturnType<typeof createWorld>;

interface Operation {
  readonly kind: number;
  /** Indices into the pool. */
  readonly a: number;
  readonly b: number;
  readonly slot: number;
  readonly flags: number;
  readonly high: number;
  readonly address: number;
  readonly choice: number;
}

const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.nat(22),
  a: fc.nat(23),
  b: fc.nat(23),
  slot: fc.constantFrom(...SLOTS),
  flags: fc.constantFrom(0, P, P | A, P | W, P | W | A, P | W | U, P | W | U | A | D, P | 0x80, P | 0x100, 0xfff),
  high: fc.constantFrom(0, 0, 0, PTE.HIGH_NX, PTE.HIGH_GUEST_KERNEL, 1),
  address: fc.nat(ADDRESSES.length - 1),
  choice: fc.nat(5),
});

function apply(w: World, op: Operation): void {
  const { paging, memory, first, second, pool, held, roots } = w;
  const a = pool[op.a]!;
  const b = pool[op.b]!;
  const low = ((b << 12) | op.flags) >>> 0;
  const address = ADDRESSES[op.address]!;
  const entry = (): number => paging.findL1Entry(op.choice & 1 ? roots.kernel : roots.user, address);
  const ext = (command: number, x: number, y = 0): number => paging.mmuext(w.caller, 1, command, BigInt(x), BigInt(y));
  switch (op.kind) {
    case 0:
    case 1:
    case 2: {
      const pointer = a * 4096 + op.slot * 8 + (op.choice % 3);
      paging.mmuUpdate(first, new Uint32Array([pointer, 0, low, op.high]), 1, op.choice === 5 ? 2 : 0x7ff0);
      break;
    }
    case 3:
      ext([MMUEXT.PIN_L1_TABLE, MMUEXT.PIN_L2_TABLE, MMUEXT.PIN_L3_TABLE, MMUEXT.PIN_L4_TABLE][op.choice & 3]!, a);
      break;
    case 4:
      ext(MMUEXT.UNPIN_TABLE, a);
      break;
    case 5:
      ext(op.choice & 1 ? MMUEXT.NEW_BASEPTR : MMUEXT.NEW_USER_BASEPTR, op.choice === 4 ? 0 : a);
      break;
    case 6:
      ext(op.choice & 1 ? MMUEXT.CLEAR_PAGE : MMUEXT.COPY_PAGE, a, b);
      break;
    case 7:
      paging.updateVaMapping(first, roots.kernel, address, low, op.high, 0n, 0x7ff0, () => 0);
      break;
    case 8: {
      const at = entry();
      const { words } = memory;
      if (at !== 0) paging.emulateTableWrite(first, at, words[at / 4]!, words[at / 4 + 1]!, low, op.high);
      break;
    }
    case 9: {
      const domain = op.choice === 5 ? second : first;
      if (op.choice & 1) paging.decreaseReservation(domain, a);
      else {
        const mfn = paging.allocate(domain, op.choice === 4 ? 1 : 0);
        if (mfn > 0 && !pool.includes(mfn)) pool[op.a] = mfn;
      }
      break;
    }
    case 10: {
      const kind = (["read", "write", "descriptor"] as const)[op.choice % 3]!;
      const taken =
        kind === "descriptor" ? paging.getDescriptorPage(first, a) === 0 : paging.hold(first, a, kind === "write");
      if (taken) held.push({ mfn: a, kind });
      break;
    }
    case 11:
      w.letGo(op.a % 4);
      break;
    case 12: {
      const writable = (op.flags & W) !== 0;
      const at = entry();
      if (op.choice & 2) paging.unmapForeign(first, at, b, writable);
      else paging.mapForeign(first, { entryAddress: at, mfn: b, owner: second, writable, user: true, available: 0 });
      break;
    }
    case 13:
      paging.exchange(first, [a, b], op.choice & 1, op.choice & 1 ? [5] : [5, 6], 32);
      break;
    case 14:
    case 15:
    case 16:
    case 17: {
      // One bit of an entry on the way to an address changes, at any level.
      const way = translate(memory, op.choice & 1 ? roots.kernel : roots.user, address);
      const at = way?.at[op.a & 3];
      if (at === undefined) break;
      const flip = [W, A, U, D, P, 0][op.b % 6]!;
      const flipHigh = flip === 0 ? PTE.HIGH_NX : 0;
      const words = [at * 4, 0, (memory.words[at]! ^ flip) >>> 0, (memory.words[at + 1]! ^ flipHigh) >>> 0];
      paging.mmuUpdate(first, new Uint32Array(words), 1, 0x7ff0);
      break;
    }
    case 18:
    case 19: {
      // An entry of a live table that points to a table of its own level, or of the one below.
      const live = pool.filter((mfn) => (paging.frameInfo(mfn)?.type ?? 0) >= 2 && paging.frameInfo(mfn)!.type <= 4);
      const table = live[op.a % live.length];
      if (table === undefined) break;
      const level = paging.frameInfo(table)!.type - (op.choice & 1);
      const children = pool.filter((mfn) => paging.frameInfo(mfn)?.type === level);
      const child = children[op.b % children.length];
      if (child === undefined) break;
      const words = [table * 4096 + op.slot * 8, 0, ((child << 12) | P | A | (op.choice & 4 ? W : 0)) >>> 0, 0];
      paging.mmuUpdate(first, new Uint32Array(words), 1, 0x7ff0);
      break;
    }
    default: {
      // An entry of a live L1 maps something, as a kernel does most of the time.
      const live = pool.filter((mfn) => paging.frameInfo(mfn)?.type === 1);
      const table = live[op.a % live.length];
      if (table !== undefined) {
        const words = [table * 4096 + (op.choice % 3) * 8, 0, (low | P) >>> 0, op.high];
        paging.mmuUpdate(first, new Uint32Array(words), 1, 0x7ff0);
      }
      break;
    }
  }
  // The guest touches its memory: what it may write gets page-table entries, the worst that it can hold.
  for (const root of [roots.kernel, roots.user]) {
    if (root === 0) continue;
    for (let i = 0; i < 8; i++) {
      const page = w.tlb.access(root, ADDRESSES[(op.address + i * 7) % ADDRESSES.length]!, 1, (i & 1) === 1);
      if (page === undefined || !page.writable) continue;
      const at = page.mfn * 1024 + op.slot * 2;
      memory.words[at] = low;
      memory.words[at + 1] = op.high;
    }
  }
}

test("after any sequence of guest operations all counts are exact, the rules hold and no stale translation is left", () => {
  let deepest = 0;
  fc.assert(
    fc.property(fc.array(operation, { minLength: 20, maxLength: 120 }), (operations) => {
      const w = createWorld();
      w.check();
      for (const op of operations) {
        apply(w, op);
        w.check();
        deepest = Math.max(deepest, w.tlb.entries.size);
      }
      for (let i = w.held.length - 1; i >= 0; i--) w.letGo(i);
      w.paging.releaseRoots(w.roots);
      w.check();
      const domains: DomainMemory[] = operations.length & 1 ? [w.first, w.second] : [w.second, w.first];
      for (const domain of domains) w.paging.relinquish(domain);
      expect(w.paging.audit([])).toEqual([]);
      expect(w.tlb.entries.size).toBe(0);
      expect([w.paging.domain(1), w.paging.domain(2)]).toEqual([undefined, undefined]);
      for (let mfn = 16; mfn < 64; mfn++) {
        const { owner, references, typeReferences } = w.paging.frameInfo(mfn)!;
        const xen = owner === 0x7ff2;
        expect([mfn, references, typeReferences]).toEqual(xen ? [mfn, 1, 1] : [mfn, 0, 0]);
        if (!xen) expect(w.tlb.isWritable(mfn)).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
  // The sequences must do something: translations were cached, or nothing above was tested.
  expect(deepest).toBeGreaterThan(3);
});

test("the tables that the guest's accesses went through never point outside of what it may reach", () => {
  fc.assert(
    fc.property(fc.array(operation, { minLength: 20, maxLength: 100 }), (operations) => {
      const w = createWorld();
      for (const op of operations) apply(w, op);
      for (const root of [w.roots.kernel, w.roots.user]) {
        if (root === 0) continue;
        for (const address of ADDRESSES) {
          const found = translate(w.memory, root, address);
          if (found === undefined) continue;
          const { owner, type } = w.paging.frameInfo(found.mfn)!;
          const reachable = owner === 1 || w.paging.mayReachForeign(1, found.mfn, found.writable) || owner === 0x7ff2;
          expect([address, reachable]).toEqual([address, true]);
          if (found.writable) expect([address, type]).toEqual([address, 6]);
        }
      }
    }),
    { numRuns: 100 },
  );
  expect(entryMfn(0xffff_f000, 0x000f_ffff)).toBe(2 ** 40 - 1);
});

test("garbage in any argument is answered with 0 or an errno, never thrown, and breaks nothing", () => {
  const word = fc.oneof(fc.nat(0xffff_ffff), fc.constantFrom(0, 1, 0x7ff0, 0x7ff1, 0x7ff2, 0xffff_ffff, 20 * 4096, 63));
  const quad = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 70n }));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(9), word, word, word, word, quad, quad), { maxLength: 40 }), (calls) => {
      const w = createWorld();
      const { paging, first } = w;
      const answers: number[] = [];
      for (const [kind, a, b, c, d, x, y] of calls) {
        const wide = Number(x);
        const owner = paging.mmuextOwner(first, a);
        if (kind === 0) answers.push(paging.mmuUpdate(first, new Uint32Array([a, b, c, d]), 1, a ^ b).status);
        if (kind === 1 && owner >= 0) answers.push(paging.mmuext(w.caller, owner, b % 24, x, y));
        if (kind === 2) answers.push(paging.updateVaMapping(first, w.roots.kernel, x, c, d, y, a & 0xffff, () => -14));
        if (kind === 3) answers.push(paging.emulateTableWrite(first, wide, a, b, c, d));
        if (kind === 4) answers.push(paging.updateDescriptor(first, wide, a, b));
        if (kind === 5 && paging.getGdtFrames(first, [a, b], c) === 0) answers.push(1);
        if (kind === 6) answers.push(Math.min(0, paging.populatePhysmap(first, a, wide)));
        if (kind === 7) answers.push(paging.decreaseReservation(first, wide));
        if (kind === 8) answers.push(paging.unmapForeign(first, wide, a, true));
        if (kind === 9) answers.push(Number(paging.exchange(first, [a, b], c % 3, [d], Number(y))) <= 0 ? 0 : 1);
      }
      // A GDT of no entries is the only one that such numbers make: it holds nothing.
      for (const answer of answers) expect(Number.isInteger(answer) && answer <= 1).toBe(true);
      w.check();
    }),
    { numRuns: 300 },
  );
});
