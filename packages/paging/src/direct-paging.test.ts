import { MMU, MMUEXT, XEN_ERRNO } from "@paravirt/xen-abi";
import { describe, expect, test } from "vitest";
import type { MmuextCaller } from "./mmuext.ts";
import { PTE } from "./pte.ts";
import { type DomainMemory, PAGE_TYPE } from "./state.ts";
import { createTableBuilder } from "./table-builder.ts";
import { createTestMachine, translate } from "./test-machine.ts";

const { PRESENT: P, WRITABLE: W, USER: U, ACCESSED: A, DIRTY: D, GLOBAL: G } = PTE;
const { EPERM, ESRCH, EBUSY, EINVAL, ENOSYS, EOPNOTSUPP, ENOMEM, EACCES } = XEN_ERRNO;
const BASE = 0xffff_ffff_8000_0000n;

function boot(frames = 512) {
  const machine = createTestMachine(frames);
  const { memory, paging } = machine;
  const domain = paging.createDomain({ id: 1, maxFrames: 200 });
  const frame = (): number => {
    const mfn = paging.allocate(domain, 0);
    expect(mfn).toBeGreaterThan(0);
    return mfn;
  };
  const root = frame();
  const tables: number[] = [root];
  const builder = createTableBuilder({
    memory,
    root,
    allocateTable: () => {
      const mfn = frame();
      tables.push(mfn);
      return mfn;
    },
  });
  const data = [frame(), frame(), frame(), frame()];
  data.forEach((mfn, i) => {
    builder.map(BASE + BigInt(i * 4096), mfn, P | W | A);
  });
  const roots = paging.createRoots();
  const entry = (address: bigint): number => builder.entryAddress(address);
  const one = (pointer: number, low: number, high = 0, command = 0, foreign: number = 0x7ff0): number =>
    paging.mmuUpdate(domain, new Uint32Array([pointer + command, 0, low, high]), 1, foreign).status;
  const holders = (): { mfn: number; typed: boolean }[] =>
    [roots.kernel, roots.user].filter((mfn) => mfn !== 0).map((mfn) => ({ mfn, typed: true }));
  const audit = (): void => expect(paging.audit(holders())).toEqual([]);
  const caller: MmuextCaller = {
    domain,
    roots,
    checkVcpuMask: (address) => (address === 0xbadn ? -XEN_ERRNO.EFAULT : 0),
    setLdt: () => {},
    releaseLdt: () => {},
  };
  const ext = (command: number, first: bigint | number, second: bigint | number = 0n, owner = 1): number =>
    paging.mmuext(caller, owner, command, BigInt(first), BigInt(second));
  return { ...machine, domain, frame, root, tables, builder, data, roots, entry, one, audit, ext, caller };
}

describe("validation", () => {
  test("pinning an L4 types the whole tree, adds USER and bit 52 to kernel entries and shows the M2P map", () => {
    const m = boot();
    expect(m.paging.pin(m.domain, 4, m.root)).toBe(0);
    expect(m.tables.map((mfn) => m.paging.frameInfo(mfn)!.type)).toEqual([4, 3, 2, 1]);
    expect(m.tables.map((mfn) => m.tlb.isWritable(mfn))).toEqual([false, false, false, false]);
    const at = m.entry(BASE) / 4;
    expect(m.memory.words[at]! & 0xfff).toBe(P | W | U | A);
    expect(m.memory.words[at + 1]).toBe(PTE.HIGH_GUEST_KERNEL);
    expect(m.paging.frameInfo(m.data[0]!)).toMatchObject({
      type: PAGE_TYPE.WRITABLE,
      typeReferences: 1,
      references: 2,
    });
    // Frame 5's M2P entry is at the start of the map plus 40 bytes, readable by the domain, not writable.
    m.paging.setMachineToPhys(m.data[0]!, 0x1234);
    const where = 0xffff_8000_0000_0000n + BigInt(m.data[0]! * 8);
    const seen = m.tlb.access(m.root, where & ~0xfffn, 1, false)!;
    expect(m.memory.quads[seen.mfn * 512 + (m.data[0]! & 511)]).toBe(0x1234n);
    expect(m.tlb.access(m.root, where & ~0xfffn, 1, true)).toBeUndefined();
    m.audit();
  });

  test("a user entry becomes global, a kernel entry keeps bit 52 and no G", () => {
    const m = boot();
    m.builder.map(BASE + 0x10000n, m.frame(), P | U | A);
    expect(m.paging.pin(m.domain, 4, m.root)).toBe(0);
    expect(m.memory.words[m.entry(BASE + 0x10000n) / 4]! & 0xfff).toBe(P | U | A | G);
    expect(m.memory.words[m.entry(BASE + 0x10000n) / 4 + 1]).toBe(0);
  });

  test("a table that is mapped writable can't be pinned, and the failure leaves no reference behind", () => {
    const m = boot();
    m.builder.map(BASE + 0x20000n, m.tables[3]!, P | W | A);
    expect(m.paging.pin(m.domain, 4, m.root)).toBe(-EBUSY);
    m.audit();
    expect(m.tables.every((mfn) => m.paging.frameInfo(mfn)!.typeReferences === 0)).toBe(true);
    expect(m.tables.every((mfn) => m.tlb.isWritable(mfn))).toBe(true);
    m.builder.makeReadOnly(BASE + 0x20000n);
    expect(m.paging.pin(m.domain, 4, m.root)).toBe(0);
    m.audit();
  });

  test.each([
    ["cache attributes in an L1 entry", 3, 0, P | PTE.PCD, 0, -EINVAL],
    ["a frame past the memory", 3, 0, (P | 0xffff_f000) >>> 0, 0, -EPERM],
    ["a frame of bits above 32", 3, 0, P | 0x1000, 0x10, -EPERM],
    ["the invalid frame number", 3, 0, (P | 0xffff_f000) >>> 0, 0x000f_ffff, -EINVAL],
    ["a frame of the engine's", 3, 0, P | 0x1000, 0, -EBUSY],
    ["a large page in an L2", 2, 5, P | PTE.PSE, 0, -EINVAL],
    ["G in an L2", 2, 5, P | G, 0, -EINVAL],
    ["PWT in an L4", 0, 5, P | PTE.PWT, 0, -EINVAL],
  ])("%s is refused with Xen's errno, at validation and in mmu_update", (_name, table, slot, low, high, errno) => {
    const m = boot();
    const at = m.tables[table]! * 1024 + slot * 2;
    const before = [m.memory.words[at]!, m.memory.words[at + 1]!];
    const withFrame = (low & 0xffff_f000) === 0 ? (low | (m.data[0]! << 12)) >>> 0 : low;
    m.memory.words[at] = withFrame;
    m.memory.words[at + 1] = high;
    expect(m.paging.pin(m.domain, 4, m.root)).toBe(errno);
    m.audit();
    m.memory.words[at] = before[0]!;
    m.memory.words[at + 1] = before[1]!;
    expect(m.paging.pin(m.domain, 4, m.root)).toBe(0);
    expect(m.one(at * 4, withFrame, high)).toBe(errno);
    m.audit();
  });

  test("L4 slots 256 to 271 are Xen's", () => {
    const m = boot();
    const spare = m.frame();
    m.memory.words[m.root * 1024 + 271 * 2] = (m.data[0]! << 12) | P | W;
    expect(m.paging.pin(m.domain, 4, m.root)).toBe(0);
    expect(m.memory.words[m.root * 1024 + 271 * 2]).toBe(0);
    for (const slot of [256, 263, 271]) expect(m.one(m.root * 4096 + slot * 8, (spare << 12) | P)).toBe(-EINVAL);
    for (const slot of [255, 272]) expect(m.one(m.root * 4096 + slot * 8, (spare << 12) | P)).toBe(0);
    m.audit();
  });

  test("strict M2P: user roots lack the map, kernel roots have it", () => {
    const m = boot();
    m.domain.strictM2p = true;
    const user = m.frame();
    expect(m.ext(MMUEXT.NEW_BASEPTR, m.root)).toBe(0);
    expect(m.ext(MMUEXT.NEW_USER_BASEPTR, user)).toBe(0);
    expect(m.memory.words[m.root * 1024 + 512]).not.toBe(0);
    expect(m.memory.words[user * 1024 + 512]).toBe(0);
  });

  test("linear entries: read-only and one deep, as Xen allows", () => {
    const m = boot();
    expect(m.paging.pin(m.domain, 4, m.root)).toBe(0);
    const self = (m.root << 12) | P | A;
    expect(m.one(m.root * 4096 + 300 * 8, self | W)).toBe(-EINVAL);
    expect(m.one(m.root * 4096 + 300 * 8, self)).toBe(0);
    const second = m.frame();
    expect(m.paging.pin(m.domain, 4, second)).toBe(0);
    expect(m.one(second * 4096 + 300 * 8, self)).toBe(0);
    m.audit();
    // The first now is pointed to, so it may not point on; the second points, so nobody may point to it.
    expect(m.one(m.root * 4096 + 301 * 8, (second << 12) | P)).toBe(-EINVAL);
    const third = m.frame();
    expect(m.paging.pin(m.domain, 4, third)).toBe(0);
    expect(m.one(third * 4096, (second << 12) | P)).toBe(-EINVAL);
    expect(m.ext(MMUEXT.UNPIN_TABLE, second)).toBe(0);
    expect(m.one(m.root * 4096 + 301 * 8, (third << 12) | P)).toBe(0);
    m.audit();
    expect(m.paging.relinquish(m.domain)).toBe(0);
    expect(m.paging.audit([])).toEqual([]);
  });
});

describe("what is cached through a table that is also used as a lower one", () => {
  test("goes with the entry of the other root that it came through", () => {
    const m = boot();
    const second = m.frame();
    m.paging.pin(m.domain, 4, m.root);
    m.paging.pin(m.domain, 4, second);
    expect(m.one(second * 4096 + 300 * 8, (m.root << 12) | P | A)).toBe(0);
    // L4[300] of the second is the first L4 as L3; from there on each table is taken for one level lower.
    const indices = [300n, 511n, 510n, 0n];
    const address = indices.reduce((sum, index) => (sum << 9n) | index, 0n) << 12n;
    const canonical = BigInt.asUintN(64, BigInt.asIntN(48, address));
    expect(m.tlb.access(second, canonical, 1, false)!.mfn).toBe(m.tables[3]);
    expect(m.one(m.root * 4096 + 511 * 8, 0)).toBe(0);
    expect(m.tlb.access(second, canonical, 1, false)).toBeUndefined();
    m.audit();
  });
});

describe("mmu_update", () => {
  test("an L1 entry moves its references with it", () => {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    const page = m.frame();
    expect(m.one(m.entry(BASE), (page << 12) | P | W)).toBe(0);
    expect(m.paging.frameInfo(page)).toMatchObject({ references: 2, typeReferences: 1 });
    expect(m.paging.frameInfo(m.data[0]!)).toMatchObject({ references: 1, typeReferences: 0 });
    expect(m.one(m.entry(BASE), 0)).toBe(0);
    expect(m.paging.frameInfo(page)).toMatchObject({ references: 1, typeReferences: 0 });
    m.audit();
  });

  test("PRESERVE_AD keeps A and D, NORMAL replaces them", () => {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    const at = m.entry(BASE);
    m.memory.words[at / 4]! |= A | D;
    const low = (m.data[0]! << 12) | P;
    expect(m.one(at, low, 0, MMU.PT_UPDATE_PRESERVE_AD)).toBe(0);
    expect(m.memory.words[at / 4]! & (A | D | W)).toBe(A | D);
    expect(m.one(at, low)).toBe(0);
    expect(m.memory.words[at / 4]! & (A | D)).toBe(0);
    m.audit();
  });

  test("a page table can't be mapped writable, neither by a new entry nor by adding RW", () => {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    for (const table of m.tables) {
      expect(m.one(m.entry(BASE), (table << 12) | P | W)).toBe(-EBUSY);
      expect(m.one(m.entry(BASE), (table << 12) | P)).toBe(0);
      expect(m.one(m.entry(BASE), (table << 12) | P | W)).toBe(-EBUSY);
    }
    m.audit();
  });

  test("a frame that nobody relies on takes the value as data", () => {
    const m = boot();
    const page = m.frame();
    expect(m.one(page * 4096 + 8, 0x1234_5678, 0x9abc_def0)).toBe(0);
    expect(m.memory.quads[page * 512 + 1]).toBe(0x9abc_def0_1234_5678n);
    expect(m.paging.frameInfo(page)).toMatchObject({ typeReferences: 0, type: PAGE_TYPE.WRITABLE });
    expect(m.paging.getDescriptorPage(m.domain, page)).toBe(0);
    expect(m.one(page * 4096 + 8, 0)).toBe(-EINVAL);
    m.paging.putDescriptorPage(page);
    m.audit();
  });

  test("pointers to nothing and unknown commands are refused", () => {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    const status = (low: number, high: number): number =>
      m.paging.mmuUpdate(m.domain, new Uint32Array([low, high, 1, 0]), 1, 0x7ff0).status;
    expect(status(0x1000, 0)).toBe(-EINVAL);
    expect(status(0xffff_f000, 0)).toBe(-EINVAL);
    expect(status(m.entry(BASE), 1)).toBe(-EINVAL);
    expect(status(m.entry(BASE) + 4, 0)).toBe(-ENOSYS);
    expect(status(m.entry(BASE) + 1, 0xfff0_0000)).toBe(-EINVAL);
  });

  test("a batch stops at the first failure and says how far it came", () => {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    const at = m.entry(BASE);
    const words = new Uint32Array([at, 0, 0, 0, at + 4, 0, 0, 0, at, 0, 0, 0]);
    expect(m.paging.mmuUpdate(m.domain, words, 3, 0x7ff0)).toEqual({ status: -ENOSYS, done: 1 });
  });

  test("MACHPHYS_UPDATE changes the M2P entry of the domain's own frames", () => {
    const m = boot();
    expect(m.one(m.data[1]! * 4096, 77, 0, MMU.MACHPHYS_UPDATE)).toBe(0);
    expect(m.paging.machineToPhys(m.data[1]!)).toBe(77);
    expect(m.one(0x3000, 77, 0, MMU.MACHPHYS_UPDATE)).toBe(-EINVAL);
  });

  test("foreign domains: ESRCH for nobody, EPERM without the right, and the mapping counted with it", () => {
    const m = boot();
    const other = m.paging.createDomain({ id: 2, maxFrames: 10 });
    const theirs = m.paging.allocate(other, 0);
    const low = (theirs << 12) | P | W;
    m.paging.pin(m.domain, 4, m.root);
    expect(m.one(m.entry(BASE), low)).toBe(-EBUSY);
    expect(m.one(m.entry(BASE), low, 0, 0, 2)).toBe(-EPERM);
    expect(m.one(m.entry(BASE), low, 0, 0, 9)).toBe(-ESRCH);
    expect(m.one(m.entry(BASE), low, 0, 0, 1)).toBe(-ESRCH);
    expect(m.one(m.entry(BASE), 0, 0, 0, (10 << 16) | 0x7ff0)).toBe(-EINVAL);
    expect(m.paging.mayReachForeign(1, theirs, false)).toBe(false);
    const master = m.paging.createDomain({ id: 0, maxFrames: 10, privileged: true });
    const l1 = m.paging.allocate(master, 0);
    expect(m.paging.pin(master, 1, l1)).toBe(0);
    expect(m.paging.mmuUpdate(master, new Uint32Array([l1 * 4096, 0, low, 0]), 1, 2).status).toBe(0);
    expect(m.paging.mayReachForeign(0, theirs, true)).toBe(true);
    expect(m.paging.audit([])).toEqual([]);
    expect(m.paging.relinquish(other)).toBe(1);
    expect(m.paging.domain(2)).toBe(other);
    expect(m.paging.relinquish(master)).toBe(0);
    expect(m.paging.domain(2)).toBeUndefined();
    expect(m.paging.audit([])).toEqual([]);
  });
});

describe("update_va_mapping and the emulated write", () => {
  const noMask = (): number => 0;
  test("the entry is found through the root and updated", () => {
    const m = boot();
    expect(m.ext(MMUEXT.NEW_BASEPTR, m.root)).toBe(0);
    const page = m.frame();
    const set = (address: bigint, low: number, flags = 0n, domid = 0x7ff0): number =>
      m.paging.updateVaMapping(m.domain, m.roots.kernel, address, low, 0, flags, domid, noMask);
    expect(set(BASE + 0x1234n, (page << 12) | P | W, 2n)).toBe(0);
    expect(translate(m.memory, m.root, BASE + 0x1000n)!.mfn).toBe(page);
    expect(set(BASE + 0x4000_0000n, 0)).toBe(-EINVAL);
    expect(set(0xffff_8000_0000_0000n, 0)).toBe(-EINVAL);
    expect(set(0x8000_0000_0000_0000n, 0)).toBe(-EINVAL);
    expect(set(BASE, 0, 0n, 5)).toBe(-ESRCH);
    expect(m.paging.updateVaMapping(m.domain, m.root, BASE, 0, 0, 0x1001n, 0x7ff0, () => -14)).toBe(-14);
    m.audit();
  });

  test("a guest's write to its L1 table is checked; old contents must match", () => {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    const at = m.entry(BASE);
    const { words } = m.memory;
    const write = (low: number): number =>
      m.paging.emulateTableWrite(m.domain, at, words[at / 4]!, words[at / 4 + 1]!, low, 0);
    expect(write((m.root << 12) | P | W)).toBe(-EBUSY);
    expect(write((m.data[1]! << 12) | P)).toBe(0);
    expect(m.paging.emulateTableWrite(m.domain, at, 1, 2, 0, 0)).toBe(-EBUSY);
    expect(m.paging.emulateTableWrite(m.domain, m.root * 4096, 0, 0, 0, 0)).toBe(-EINVAL);
    expect(m.paging.emulateTableWrite(m.domain, m.data[1]! * 4096, 0, 0, 0, 0)).toBe(-EINVAL);
    m.audit();
  });
});

describe("mmuext_op", () => {
  test("pin, pin again, unpin, unpin again", () => {
    const m = boot();
    expect(m.ext(MMUEXT.PIN_L4_TABLE, m.root)).toBe(0);
    expect(m.ext(MMUEXT.PIN_L4_TABLE, m.root)).toBe(-EINVAL);
    expect(m.ext(MMUEXT.PIN_L1_TABLE, m.root)).toBe(-EINVAL);
    expect(m.ext(MMUEXT.PIN_L1_TABLE, m.tables[3]!)).toBe(0);
    expect(m.ext(MMUEXT.UNPIN_TABLE, m.root)).toBe(0);
    expect(m.ext(MMUEXT.UNPIN_TABLE, m.root)).toBe(-EINVAL);
    expect(m.paging.frameInfo(m.tables[3]!)!.type).toBe(PAGE_TYPE.L1);
    expect(m.paging.frameInfo(m.tables[2]!)!.typeReferences).toBe(0);
    m.audit();
  });

  test("roots are references: a root in use survives its unpinning, and the old one goes", () => {
    const m = boot();
    const second = m.frame();
    expect(m.ext(MMUEXT.NEW_BASEPTR, m.root)).toBe(0);
    expect(m.ext(MMUEXT.NEW_BASEPTR, m.data[0]!)).toBe(-EINVAL);
    expect(m.ext(MMUEXT.NEW_USER_BASEPTR, second)).toBe(0);
    expect(m.roots).toEqual({ kernel: m.root, user: second });
    expect(m.ext(MMUEXT.NEW_BASEPTR, second)).toBe(0);
    expect(m.paging.frameInfo(m.root)!.typeReferences).toBe(0);
    expect(m.ext(MMUEXT.NEW_USER_BASEPTR, 0)).toBe(0);
    expect(m.paging.frameInfo(second)!.typeReferences).toBe(1);
    m.audit();
  });

  test("every command answers as Xen does", () => {
    const m = boot();
    const text = [
      [MMUEXT.TLB_FLUSH_LOCAL, 0n, 0n, 0],
      [MMUEXT.INVLPG_ALL, BASE, 0n, 0],
      [MMUEXT.TLB_FLUSH_MULTI, 0n, 0x1000n, 0],
      [MMUEXT.INVLPG_MULTI, BASE, 0xbadn, -XEN_ERRNO.EFAULT],
      [MMUEXT.FLUSH_CACHE, 0n, 0n, -EACCES],
      [MMUEXT.FLUSH_CACHE_GLOBAL, 0n, 0n, -EINVAL],
      [MMUEXT.SET_LDT, BASE, 16n, 0],
      [MMUEXT.SET_LDT, BASE + 1n, 16n, -EINVAL],
      [MMUEXT.SET_LDT, BASE, 8193n, -EINVAL],
      [MMUEXT.SET_LDT, 0xffff_8000_0000_0000n, 16n, -EINVAL],
      [MMUEXT.MARK_SUPER, 0n, 0n, -EOPNOTSUPP],
      [MMUEXT.UNMARK_SUPER, 0n, 0n, -EOPNOTSUPP],
      [14, 0n, 0n, -ENOSYS],
      [99, 0n, 0n, -ENOSYS],
    ] as const;
    for (const [command, first, second, answer] of text) expect(m.ext(command, first, second)).toBe(answer);
    expect(m.ext(MMUEXT.TLB_FLUSH_LOCAL, 0n, 0n, 7)).toBe(-EPERM);
    expect(m.paging.mmuextOwner(m.domain, 0x7ff0)).toBe(1);
    expect(m.paging.mmuextOwner(m.domain, 7)).toBe(-ESRCH);
    expect(m.paging.mmuextOwner(m.domain, 0x7ff1)).toBe(-EPERM);
  });

  test("CLEAR_PAGE and COPY_PAGE write only to frames that may be written", () => {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    m.memory.bytes.fill(7, m.data[0]! * 4096, m.data[0]! * 4096 + 4096);
    expect(m.ext(MMUEXT.COPY_PAGE, m.data[1]!, m.data[0]!)).toBe(0);
    expect(m.memory.bytes[m.data[1]! * 4096 + 4095]).toBe(7);
    expect(m.ext(MMUEXT.CLEAR_PAGE, m.data[1]!)).toBe(0);
    expect(m.memory.bytes[m.data[1]! * 4096 + 4095]).toBe(0);
    expect(m.ext(MMUEXT.CLEAR_PAGE, m.root)).toBe(-EINVAL);
    expect(m.ext(MMUEXT.COPY_PAGE, m.tables[3]!, m.data[0]!)).toBe(-EINVAL);
    expect(m.ext(MMUEXT.COPY_PAGE, m.data[0]!, 3)).toBe(-EINVAL);
    m.audit();
  });
});

describe("descriptors", () => {
  const CODE = 0x00af_9b00;
  test("a GDT frame must hold harmless descriptors, gets DPL 3, and can't be mapped writable meanwhile", () => {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    const gdt = m.frame();
    m.memory.words[gdt * 1024 + 2] = 0x0000_ffff;
    m.memory.words[gdt * 1024 + 3] = CODE;
    expect(m.paging.getGdtFrames(m.domain, [gdt], 512)).toBe(0);
    expect(m.memory.words[gdt * 1024 + 3]).toBe(CODE | 0x6000);
    expect(m.one(m.entry(BASE), (gdt << 12) | P | W)).toBe(-EBUSY);
    expect(m.paging.updateDescriptor(m.domain, gdt * 4096 + 16, 0xffff, 0x00cf_f300)).toBe(0);
    expect(m.paging.updateDescriptor(m.domain, gdt * 4096 + 16, 0, 0x0000_8900)).toBe(-EINVAL);
    expect(m.paging.updateDescriptor(m.domain, gdt * 4096 + 12, 0, 0)).toBe(-EINVAL);
    expect(m.paging.updateDescriptor(m.domain, m.root * 4096, 0, 0)).toBe(-EINVAL);
    m.paging.putDescriptorPage(gdt);
    expect(m.one(m.entry(BASE), (gdt << 12) | P | W)).toBe(0);
    expect(m.paging.getGdtFrames(m.domain, [gdt], 512)).toBe(-EINVAL);
    expect(m.paging.getGdtFrames(m.domain, [gdt], 7169)).toBe(-EINVAL);
    m.audit();
  });

  test("a system descriptor keeps the page from becoming a GDT, and frames taken before it are given back", () => {
    const m = boot();
    const good = m.frame();
    const bad = m.frame();
    m.memory.words[bad * 1024 + 1] = 0x0000_8900;
    expect(m.paging.getGdtFrames(m.domain, [good, bad], 1024)).toBe(-EINVAL);
    m.audit();
  });

  test("unmapping a page that is in use as LDT asks the hypervisor to drop it", () => {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    const ldt = m.frame();
    expect(m.paging.getDescriptorPage(m.domain, ldt)).toBe(0);
    expect(m.one(m.entry(BASE), (ldt << 12) | P)).toBe(0);
    let asked = 0;
    m.domain.onDescriptorPageUnmapped = () => {
      asked++;
      m.paging.putDescriptorPage(ldt);
    };
    expect(m.one(m.entry(BASE), 0)).toBe(0);
    expect(asked).toBe(1);
    m.audit();
  });
});

describe("memory", () => {
  test("frames come zeroed, within the limit, and go back", () => {
    const m = createTestMachine(256);
    const before = m.paging.freeFrames;
    const domain = m.paging.createDomain({ id: 3, maxFrames: 9 });
    const first = m.paging.populatePhysmap(domain, 3, 100);
    expect(first % 8).toBe(0);
    expect(m.paging.machineToPhys(first + 7)).toBe(107);
    m.memory.bytes.fill(1, first * 4096, (first + 8) * 4096);
    expect(m.paging.allocate(domain, 1)).toBe(-ENOMEM);
    for (let i = 0; i < 8; i++) expect(m.paging.decreaseReservation(domain, first + i)).toBe(0);
    expect(m.paging.decreaseReservation(domain, first)).toBe(-EINVAL);
    expect(m.paging.machineToPhys(first)).toBe(-1);
    const again = m.paging.allocate(domain, 3);
    expect(m.memory.bytes.subarray(again * 4096, (again + 8) * 4096).every((byte) => byte === 0)).toBe(true);
    expect(m.paging.relinquish(domain)).toBe(0);
    expect(m.paging.freeFrames).toBe(before);
    expect(m.paging.audit([])).toEqual([]);
  });

  test("all of memory can be allocated one by one after runs left gaps", () => {
    const m = createTestMachine(256);
    const domain = m.paging.createDomain({ id: 3, maxFrames: 1000 });
    expect(m.paging.allocate(domain, 0)).toBeGreaterThan(0);
    expect(m.paging.allocate(domain, 4)).toBeGreaterThan(0);
    let count = 0;
    while (m.paging.allocate(domain, 0) > 0) count++;
    expect(m.paging.freeFrames).toBe(0);
    expect(count).toBeGreaterThan(200);
    expect(m.paging.audit([])).toEqual([]);
  });

  test("a page that is still mapped outlives decrease_reservation until it is unmapped", () => {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    const free = m.paging.freeFrames;
    expect(m.paging.decreaseReservation(m.domain, m.data[0]!)).toBe(0);
    expect(m.paging.freeFrames).toBe(free);
    expect(m.one(m.entry(BASE), 0)).toBe(0);
    expect(m.paging.freeFrames).toBe(free + 1);
    m.audit();
  });

  test("exchange swaps frames that nothing else holds for a contiguous run", () => {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    const given = [m.frame(), m.frame(), m.frame(), m.frame()];
    const owned = m.domain.ownedFrames;
    expect(m.paging.exchange(m.domain, [given[0]!, given[0]!, given[1]!, given[2]!], 2, [5], 64)).toBe(-EINVAL);
    expect(m.paging.exchange(m.domain, [...given.slice(1), m.data[0]!], 2, [5], 64)).toBe(-EINVAL);
    expect(m.paging.exchange(m.domain, given, 2, [5], 13)).toBe(-ENOMEM);
    m.audit();
    const runs = m.paging.exchange(m.domain, given, 2, [5], 32) as number[];
    expect(runs).toHaveLength(1);
    expect(runs[0]! % 4).toBe(0);
    expect(m.paging.machineToPhys(runs[0]! + 3)).toBe(8);
    expect(m.domain.ownedFrames).toBe(owned);
    m.audit();
  });

  test("Xen's shared pages can be mapped as allowed, never made a table, and are freed at the end", () => {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    const free = m.paging.freeFrames;
    const info = m.paging.shareXenPage(m.domain, true);
    const readOnly = m.paging.shareXenPage(m.domain, false);
    expect(m.one(m.entry(BASE), (info << 12) | P | W)).toBe(0);
    expect(m.one(m.entry(BASE + 0x1000n), (readOnly << 12) | P | W)).toBe(-EBUSY);
    expect(m.one(m.entry(BASE + 0x1000n), (readOnly << 12) | P)).toBe(0);
    expect(m.ext(MMUEXT.PIN_L1_TABLE, info)).toBe(-EINVAL);
    expect(m.ext(MMUEXT.PIN_L1_TABLE, readOnly)).toBe(-EINVAL);
    expect(m.paging.decreaseReservation(m.domain, info)).toBe(-EINVAL);
    m.audit();
    m.paging.unshareXenPage(info);
    m.audit();
    expect(m.paging.relinquish(m.domain)).toBe(0);
    expect(m.paging.freeFrames).toBe(free + m.tables.length + m.data.length);
  });

  test("the builder's mistakes are thrown at once", () => {
    const m = boot();
    expect(() => m.paging.createDomain({ id: 1, maxFrames: 1 })).toThrow("domain id 1 is still in use");
    expect(() => m.paging.createDomain({ id: 0x7ff0, maxFrames: 1 })).toThrow("32752");
    expect(() => m.builder.map(1n, 1, P)).toThrow("0x1 is not the address of a page");
    expect(() => m.builder.map(0n, 512, P)).toThrow("frame 512 is past the machine's 512");
  });
});

describe("grant mappings", () => {
  function granted() {
    const m = boot();
    m.paging.pin(m.domain, 4, m.root);
    const owner: DomainMemory = m.paging.createDomain({ id: 2, maxFrames: 20 });
    const mfn = m.paging.allocate(owner, 0);
    const map = (writable: boolean, address = BASE): number =>
      m.paging.mapForeign(m.domain, {
        entryAddress: m.entry(address),
        mfn,
        owner,
        writable,
        user: false,
        available: 0,
      });
    return { ...m, owner, mfn, map };
  }

  test("the entry holds the frame; its owner can't make a table of it; unmapping gives everything back", () => {
    const m = granted();
    expect(m.map(true)).toBe(0);
    expect(m.tlb.access(m.root, BASE, 1, true)!.mfn).toBe(m.mfn);
    expect(m.paging.pin(m.owner, 1, m.mfn)).toBe(-EINVAL);
    m.audit();
    expect(m.paging.unmapForeign(m.domain, m.entry(BASE), m.mfn, false)).toBe(-EINVAL);
    expect(m.paging.unmapForeign(m.domain, m.entry(BASE), m.mfn, true)).toBe(0);
    expect(m.tlb.access(m.root, BASE, 1, false)).toBeUndefined();
    expect(m.paging.pin(m.owner, 1, m.mfn)).toBe(0);
    expect(m.map(true)).toBe(-EBUSY);
    expect(m.map(false)).toBe(0);
    m.audit();
  });

  test("write access ends with the last writable mapping, though readable ones remain", () => {
    const m = granted();
    expect(m.map(true)).toBe(0);
    expect(m.map(false, BASE + 0x1000n)).toBe(0);
    m.tlb.access(m.root, BASE, 1, true);
    expect(m.one(m.entry(BASE), 0)).toBe(0);
    expect([...m.tlb.entries.values()].filter((page) => page.mfn === m.mfn)).toEqual([]);
    expect(m.paging.mayReachForeign(1, m.mfn, true)).toBe(false);
    expect(m.paging.mayReachForeign(1, m.mfn, false)).toBe(true);
    expect(m.paging.relinquish(m.owner)).toBe(1);
    expect(m.paging.relinquish(m.domain)).toBe(0);
    expect(m.paging.audit([])).toEqual([]);
    expect(m.paging.domain(2)).toBeUndefined();
  });

  test("a backend's hold keeps the frame and its type", () => {
    const m = granted();
    expect(m.paging.hold(m.owner, m.mfn, true)).toBe(true);
    expect(m.paging.hold(m.owner, m.data[0]!, true)).toBe(false);
    expect(m.paging.pin(m.owner, 1, m.mfn)).toBe(-EINVAL);
    expect(m.paging.audit([{ mfn: m.mfn, typed: true }])).toEqual([]);
    m.paging.release(m.mfn, true);
    expect(m.paging.pin(m.owner, 1, m.mfn)).toBe(0);
  });
});
