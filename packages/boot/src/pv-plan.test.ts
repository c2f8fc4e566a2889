import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Mfn, Pfn, Port } from "@paravirt/core";
import { ELFNOTE, layout } from "@paravirt/xen-abi";
import { beforeAll, describe, expect, test } from "vitest";
import { debianKernel } from "../test/debian.ts";
import { type MakeKernelOptions, makeKernel } from "../test/make-kernel.ts";
import { type KernelImage, readKernelImage } from "./kernel-image.ts";
import { type BuiltPvDomain, buildPvDomain } from "./pv-build.ts";
import { type PvPlan, planPvDomain } from "./pv-plan.ts";

const PAGES_256_MIB = 65536;
let debian: KernelImage;

beforeAll(() => {
  const { vmlinuz, vmlinux } = debianKernel();
  debian = readKernelImage(vmlinuz, { unpacked: vmlinux });
});

/** A machine of plain arrays: frames are handed out from 0x20000 up, backwards within groups of eight. */
function buildInArrays(plan: PvPlan): BuiltPvDomain & { readonly memory: Map<number, Uint8Array> } {
  const memory = new Map<number, Uint8Array<ArrayBuffer>>();
  // A page takes room once something is written to it.
  const pageOf = (mfn: number): Uint8Array<ArrayBuffer> => {
    let page = memory.get(mfn)!;
    if (page.length === 0) {
      page = new Uint8Array(4096);
      memory.set(mfn, page);
    }
    return page;
  };
  const built = buildPvDomain(
    plan,
    {
      populate(pfn) {
        const mfn = (0x20000 + (pfn ^ 7)) as Mfn;
        memory.set(mfn, new Uint8Array(0));
        return mfn;
      },
      write(mfn, offset, bytes) {
        pageOf(mfn).set(bytes, offset);
      },
      writeEntry(table, index, target, flags) {
        new DataView(pageOf(table).buffer).setBigUint64(index * 8, (BigInt(target) << 12n) | BigInt(flags), true);
      },
    },
    { sharedInfo: 0x1234 as Mfn, storePort: 1 as Port, consolePort: 2 as Port },
  );
  return { ...built, memory };
}

/** Walks the tables that were written; answers the leaf entry, or `undefined`. */
function walk(built: ReturnType<typeof buildInArrays>, address: bigint): bigint | undefined {
  let table: number = built.vcpu.cr3;
  for (let level = 3; level >= 0; level--) {
    const page = built.memory.get(table)!;
    if (page.length === 0) return undefined;
    const index = Number((address >> BigInt(12 + 9 * level)) & 511n);
    const entry = new DataView(page.buffer).getBigUint64(index * 8, true);
    if ((entry & 1n) === 0n) return undefined;
    if (level === 0) return entry;
    expect(entry & 0xfffn).toBe(0x67n);
    table = Number((entry >> 12n) & 0xffffffffffn);
  }
  return undefined;
}

describe("Debian's kernel in 256 MiB, as libxc 4.17 laid it out on real Xen", () => {
  let plan: PvPlan;
  let built: ReturnType<typeof buildInArrays>;
  beforeAll(() => {
    const initrd = new Uint8Array(0x701a10).fill(0x5a);
    plan = planPvDomain(debian, { pages: PAGES_256_MIB, initrd, commandLine: "console=hvc0 earlyprintk=xen holdopen" });
    built = buildInArrays(plan);
  });

  test("every part is where it was", () => {
    expect(plan.kernel).toEqual({ pfn: 0x1000, pages: 0x3a00 });
    expect([plan.startInfo, plan.xenstore, plan.console]).toEqual([0x4a00, 0x4a01, 0x4a02]);
    expect(plan.pageTables).toEqual({ pfn: 0x4a03, pages: 0x29 });
    expect(plan.bootStack).toBe(0x4a2c);
    expect([plan.allocatedEnd, plan.mappedEnd]).toEqual([0xffffffff84a2d000n, 0xffffffff84c00000n]);
    expect(plan.initrd).toEqual({ pfn: 0x4c00, pages: 0x702 });
    expect(plan.p2m).toEqual({ pfn: 0x5302, pages: 0x83 });
    expect([plan.p2mAddress, plan.entry]).toEqual([0x8000000000n, 0xffffffff830791c0n]);
    expect(plan.hypercallPage).toBe(undefined);
    expect(plan.loads.slice(0, 4).map((load) => load.address)).toEqual([0x1000000, 0x2a00000, 0x3044000, 0x3079000]);
  });

  test("the first VCPU starts as vcpu_x86_64 leaves it", () => {
    expect(built.vcpu).toEqual({
      rip: 0xffffffff830791c0n,
      rsp: 0xffffffff84a2d000n,
      rsi: 0xffffffff84a00000n,
      rflags: 0x200n,
      cs: 0xe033,
      ss: 0xe02b,
      ds: 0,
      cr3: built.frames[0x4a03],
    });
  });

  test("start_info says what the guest will believe", () => {
    const page = built.memory.get(built.frames[0x4a00]!)!;
    const info = layout("start_info", "x86_64").read(new DataView(page.buffer), 0);
    expect(info).toMatchObject({
      magic: "xen-3.0-x86_64",
      nr_pages: PAGES_256_MIB,
      shared_info: 0x1234000n,
      flags: 8,
      store_mfn: built.frames[0x4a01],
      store_evtchn: 1,
      pt_base: 0xffffffff84a03000n,
      nr_pt_frames: 0x29,
      mfn_list: 0x8000000000n,
      mod_start: 0x4c00n,
      mod_len: 0x701a10n,
      cmd_line: "console=hvc0 earlyprintk=xen holdopen",
      first_p2m_pfn: 0x5302,
      nr_p2m_frames: 0x83,
    });
    expect(info.console.domU).toEqual({ mfn: built.frames[0x4a02], evtchn: 2 });
  });

  test("the initial mapping has every page up to its end, page tables read-only, nothing beyond", () => {
    for (let pfn = 0; pfn < 0x4c00; pfn++) {
      const isTable = pfn >= 0x4a03 && pfn < 0x4a2c;
      const expected = (BigInt(built.frames[pfn]!) << 12n) | (isTable ? 0x21n : 0x23n);
      if (walk(built, 0xffffffff80000000n + BigInt(pfn) * 4096n) !== expected) {
        expect([pfn, walk(built, 0xffffffff80000000n + BigInt(pfn) * 4096n)]).toEqual([pfn, expected]);
      }
    }
    expect(walk(built, 0xffffffff84c00000n)).toBe(undefined);
  });

  test("the list of machine frames is mapped at INIT_P2M and tells every frame", () => {
    for (const pfn of [0, 1, 511, 512, 0x5302, PAGES_256_MIB - 1]) {
      const entry = walk(built, 0x8000000000n + BigInt(pfn) * 8n)!;
      const page = built.memory.get(Number(entry >> 12n))!;
      expect(new DataView(page.buffer).getBigUint64((pfn % 512) * 8, true)).toBe(BigInt(built.frames[pfn]!));
    }
    expect(walk(built, 0x8000000000n + BigInt(PAGES_256_MIB) * 8n)).toBe(undefined);
  });

  test("kernel and initrd bytes lie in their frames", () => {
    const at = (pfn: number): Uint8Array => built.memory.get(built.frames[pfn]!)!;
    const { vmlinux } = debianKernel();
    expect(Buffer.compare(at(0x1000), vmlinux.subarray(0x200000, 0x201000))).toBe(0);
    expect(Buffer.compare(at(0x3079), vmlinux.subarray(0x2479000, 0x247a000))).toBe(0);
    expect(
      at(0x5301)
        .subarray(0, 0xa10)
        .every((byte) => byte === 0x5a),
    ).toBe(true);
    expect(
      at(0x5301)
        .subarray(0xa10)
        .every((byte) => byte === 0),
    ).toBe(true);
  });
});

test("grub's own PV image, which has neither INIT_P2M nor PADDR_OFFSET and starts at address 0, is laid out", () => {
  const folder = mkdtempSync(join(tmpdir(), "paravirt-grub-"));
  try {
    const path = join(folder, "grub.xen");
    execFileSync("grub-mkimage", ["-O", "x86_64-xen", "-p", "/boot/grub", "-o", path, "normal", "echo"]);
    const image = readKernelImage(readFileSync(path));
    const plan = planPvDomain(image, { pages: 8192 });
    expect([plan.virtBase, plan.entry, plan.kernel.pfn]).toEqual([0n, 0n, 0]);
    expect(plan.p2mApart).toBe(false);
    // Without INIT_P2M the list comes right after the kernel, inside the initial mapping.
    expect(plan.p2m).toEqual({ pfn: plan.kernel.pages, pages: 16 });
    expect(plan.startInfo).toBe(plan.kernel.pages + 16);
    const built = buildInArrays(plan);
    expect(walk(built, plan.p2mAddress)).toBe((BigInt(built.frames[plan.p2m.pfn]!) << 12n) | 0x23n);
    expect(built.startInfo).toMatchObject({ first_p2m_pfn: 0, nr_p2m_frames: 0, mod_len: 0n, flags: 0 });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

const plan = (options: MakeKernelOptions, pages = 8192, initrd?: Uint8Array): PvPlan =>
  planPvDomain(readKernelImage(makeKernel(options)), { pages, ...(initrd === undefined ? {} : { initrd }) });

test("a kernel with a HYPERCALL_PAGE note gets that page filled with stubs", () => {
  const made = plan({ notes: { [ELFNOTE.HYPERCALL_PAGE]: 0xffffffff80001000n } });
  expect(made.hypercallPage).toBe(1);
  const page = buildInArrays(made);
  const bytes = page.memory.get(page.frames[1]!)!;
  expect([...bytes.subarray(29 * 32, 29 * 32 + 14)]).toEqual([
    0x51, 0x41, 0x53, 0xb8, 29, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3,
  ]);
  expect([...bytes.subarray(23 * 32, 23 * 32 + 12)]).toEqual([
    0x51, 0x41, 0x53, 0x50, 0xb8, 23, 0, 0, 0, 0x0f, 0x05, 0xcc,
  ]);
});

test("without MOD_START_PFN the initrd is mapped, right after the kernel, and named by its address", () => {
  const made = plan({}, 8192, new Uint8Array(5000));
  expect(made.initrd).toEqual({ pfn: made.kernel.pfn + made.kernel.pages, pages: 2 });
  expect(made.flags).toBe(0);
  expect(made.moduleStart).toBe(made.virtBase + BigInt(made.initrd!.pfn * 4096));
});

test("without VIRT_BASE addresses start at 0, and PADDR_OFFSET shifts the file's", () => {
  const low = plan({ omit: [ELFNOTE.VIRT_BASE], physical: 0x100000n, entry: 0x100000n });
  expect([low.virtBase, low.entry, low.kernel.pfn]).toEqual([0n, 0x100000n, 0x100]);
  const shifted = plan({
    notes: { [ELFNOTE.PADDR_OFFSET]: 0xffffffff80000000n },
    physical: 0xffffffff80000000n,
  });
  expect([shifted.virtBase, shifted.kernel.pfn]).toEqual([0xffffffff80000000n, 0]);
});

test("an older kernel's __xen_guest section counts when there are no notes", () => {
  const guest = "GUEST_OS=Mini-OS,XEN_VER=xen-3.0,VIRT_BASE=0x0,ELF_PADDR_OFFSET=0x0,HYPERCALL_PAGE=0x1,LOADER=generic";
  const made = plan({ guestSection: guest, physical: 0n, entry: 0n });
  expect([made.virtBase, made.hypercallPage, made.entry]).toEqual([0n, 1, 0n]);
});

test.each<[string, MakeKernelOptions, RegExp]>([
  ["no Xen notes", { omit: "all" }, /no Xen ELF notes and no __xen_guest/],
  ["no XEN_VERSION", { omit: [ELFNOTE.XEN_VERSION] }, /XEN_VERSION note is missing/],
  ["another XEN_VERSION", { notes: { [ELFNOTE.XEN_VERSION]: "xen-2.0" } }, /says "xen-2.0"/],
  ["no LOADER and another system", { omit: [ELFNOTE.LOADER] }, /LOADER note is missing/],
  ["32-bit", { bits: 32 }, /32-bit x86 PV kernel/],
  ["an unknown required feature", { notes: { [ELFNOTE.FEATURES]: "!warp_drive" } }, /unknown Xen feature "warp_drive"/],
  [
    "a feature that PV has not",
    { notes: { [ELFNOTE.FEATURES]: "!auto_translated_physmap|dom0" } },
    /requires the feature "auto_translated_physmap"/,
  ],
  ["an entry outside", { entry: 0xffffffff90000000n }, /out of bounds/],
  ["a hypercall page outside", { notes: { [ELFNOTE.HYPERCALL_PAGE]: 0x1000n } }, /HYPERCALL_PAGE 0x1000 is no page/],
  [
    "INIT_P2M inside itself",
    { notes: { [ELFNOTE.INIT_P2M]: 0xffffffff80001000n } },
    /INIT_P2M .* is inside the kernel/,
  ],
  [
    "only an entry for PVH",
    { omit: [ELFNOTE.ENTRY, ELFNOTE.VIRT_BASE], notes: { [ELFNOTE.PHYS32_ENTRY]: 0x1000n } },
    /PVH-only kernel/,
  ],
])("a kernel with %s is refused in one line that says so", (_, options, message) => {
  expect(() => plan(options)).toThrow(message);
});

test("what does not fit is refused with the need and the limit", () => {
  expect(() => plan({}, 8192, new Uint8Array(40 << 20))).toThrow(
    /initrd of 41943040 bytes ends at .* the domain has 32 MiB/,
  );
  expect(() => planPvDomain(debian, { pages: 4096 })).toThrow(/kernel ends at 74 MiB .* has 16 MiB \(4096 pages\)/);
  expect(() => planPvDomain(debian, { pages: 0 })).toThrow(/0 pages/);
  expect(() => planPvDomain(debian, { pages: 65536, commandLine: "x".repeat(1024) })).toThrow(/1024 bytes, over 1023/);
});

test("a command line outside ASCII arrives as UTF-8", () => {
  const made = planPvDomain(debian, { pages: PAGES_256_MIB, commandLine: "name=λ" });
  const built = buildInArrays(made);
  const page = built.memory.get(built.frames[made.startInfo]!)!;
  expect(Buffer.from(page.subarray(128, 135)).toString()).toBe("name=λ");
  expect(made.startInfo satisfies Pfn).toBe(0x4a00);
});
