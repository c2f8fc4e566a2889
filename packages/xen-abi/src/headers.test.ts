// Everything this package exports is compared with Debian's libxen-dev by its C compiler.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import * as abi from "./index.ts";
import { type Abi, describeFields, layout, STRUCTS, structNames } from "./index.ts";

const ABIS: readonly Abi[] = ["x86_64", "x86_32"];
const FLAGS: Readonly<Record<Abi, string>> = { x86_64: "-m64", x86_32: "-m32" };

const HEADERS = [
  "xen.h",
  "errno.h",
  "sched.h",
  "vcpu.h",
  "event_channel.h",
  "memory.h",
  "version.h",
  "features.h",
  "callback.h",
  "nmi.h",
  "physdev.h",
  "elfnote.h",
  "grant_table.h",
  "pmu.h",
  "platform.h",
  "arch-x86/cpuid.h",
  "arch-x86/hvm/start_info.h",
  "hvm/params.h",
  "hvm/hvm_op.h",
  "io/ring.h",
  "io/console.h",
  "io/xs_wire.h",
  "io/xenbus.h",
  "io/blkif.h",
  "io/netif.h",
  "io/protocols.h",
  "io/fbif.h",
  "io/kbdif.h",
  "io/pciif.h",
  "io/9pfs.h",
  "hvm/hvm_vcpu.h",
];

// xenctrl.h needs a C library for the target, which a plain Debian lacks for 32 bits: only its e820entry is taken.
function preamble(): string {
  const control = readFileSync("/usr/include/xenctrl.h", "latin1");
  const e820 = /struct e820entry \{[^}]*\} __attribute__\(\(packed\)\);/.exec(control);
  if (e820 === null) throw new Error("/usr/include/xenctrl.h has no struct e820entry");
  return [
    "#include <stdint.h>",
    "#include <stddef.h>",
    "void *memcpy(void *, const void *, size_t);", // used by io/ring.h's inline functions
    "#define __XEN_TOOLS__ 1", // the tools' numbers of memory_op
    "#include <xen/xen-compat.h>",
    "#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__",
    ...HEADERS.map((header) => `#include <xen/${header}>`),
    e820[0],
  ].join("\n");
}

/** Compiles `expressions`, all constant, for `target` and gives their values as unsigned 64-bit numbers. */
function evaluate(target: Abi, expressions: readonly string[]): bigint[] {
  const folder = mkdtempSync(join(tmpdir(), "xen-abi-"));
  try {
    const source = join(folder, "facts.c");
    const values = expressions.map((expression) => `  (long long)(${expression}),`).join("\n");
    writeFileSync(
      source,
      `${preamble()}\n__attribute__((section("xen_abi_facts"), used, aligned(8))) const long long facts[] = {\n${values}\n};\n`,
    );
    const object = join(folder, "facts.o");
    // Freestanding: the 32-bit layout needs no 32-bit C library.
    execFileSync("gcc", [FLAGS[target], "-ffreestanding", "-w", "-c", source, "-o", object], { stdio: "pipe" });
    const binary = join(folder, "facts.bin");
    execFileSync("objcopy", ["-O", "binary", "--only-section=xen_abi_facts", object, binary]);
    const bytes = readFileSync(binary);
    return expressions.map((_, index) => bytes.readBigUInt64LE(index * 8));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function preprocess(target: Abi, ...flags: string[]): string {
  const input = `${preamble()}\n`;
  return execFileSync("gcc", [FLAGS[target], "-ffreestanding", "-E", "-P", ...flags, "-"], {
    input,
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
}

interface Group {
  /** What precedes a member's name in C; a function where that is not enough. */
  readonly c: string | ((member: string) => string);
  /** The only ABI that has these constants. */
  readonly only?: Abi;
  /** Members that only x86_64 has. */
  readonly wide?: readonly string[];
  /** Macros with the group's prefix that are left out, and why. */
  readonly without?: RegExp;
}

const leafNumber = ["signature", "version", "hypercall", "time", "hvm", "limits"];

/** Each exported table of numbers, with the C names that it stands for. */
const GROUPS: Readonly<Record<string, Group>> = {
  XEN_ERRNO: { c: (member) => `XEN_${member}` },
  // Prefixed like hypercalls, but addresses: see VIRT_X86_64.
  HYPERVISOR: { c: "__HYPERVISOR_", without: /VIRT/ },
  CONSOLEIO: { c: "CONSOLEIO_" },
  VMASST_CMD: { c: "VMASST_CMD_" },
  SCHEDOP: { c: "SCHEDOP_" },
  VCPUOP: { c: "VCPUOP_" },
  EVTCHNOP: { c: "EVTCHNOP_" },
  // What structures of memory_op hold, and the toolstack's own sub-commands.
  XENMEM: { c: "XENMEM_", without: /_resource_|sharing_op_|SHARING|paging_op_|access_|FORK|RDM/ },
  XENVER: { c: "XENVER_" },
  CALLBACKOP: { c: "CALLBACKOP_" },
  XENNMI: { c: "XENNMI_" },
  // The debug port's own numbers; an alias by interface version; names of 2005.
  PHYSDEVOP: { c: "PHYSDEVOP_", without: /DBGP|_gmfn$|[A-Z]{3}_/ },
  GNTTABOP: { c: "GNTTABOP_", without: /error_msgs/ },
  HVMOP: { c: "HVMOP_", without: /altp2m_|ALTP2M_/ },
  XENPMU: { c: "XENPMU_", without: /VER_|MODE_|FEATURE_|PAD/ },
  MMUEXT: { c: "MMUEXT_" },
  XENPF: { c: "XENPF_", without: /INTERFACE_VERSION|settime$|[A-Z]{4}_/ },
  VIRQ: { c: "VIRQ_" },
  MMU: { c: "MMU_" },
  UVMF: { c: "UVMF_" },
  VMASST: { c: "VMASST_TYPE_" },
  DOMID: { c: "DOMID_" },
  SIF: { c: "SIF_" },
  XENPVCLOCK: { c: "XEN_PVCLOCK_" },
  VGCF: { c: "VGCF_", wide: ["in_syscall"], without: /IN_KERNEL|I387_VALID|IN_SYSCALL/ },
  FLAT: { c: "FLAT_", only: "x86_64", without: /(KERNEL|USER)_.S(32|64)/ },
  FLAT_X86_32: { c: "FLAT_", only: "x86_32", without: /KERNEL_|USER_/ },
  SEGBASE: { c: "SEGBASE_", only: "x86_64" },
  SHUTDOWN: { c: "SHUTDOWN_", without: /MAX/ },
  RUNSTATE: { c: "RUNSTATE_" },
  XENFEAT: { c: "XENFEAT_", without: /NR_SUBMAPS/ },
  CALLBACKTYPE: { c: "CALLBACKTYPE_" },
  CALLBACKF: { c: "CALLBACKF_" },
  NMIREASON: { c: "XEN_NMIREASON_" },
  XENIRQSTAT: { c: "XENIRQSTAT_" },
  MAP_PIRQ_TYPE: { c: "MAP_PIRQ_TYPE_" },
  XENMEMF: { c: "XENMEMF_" },
  XENMAPSPACE: { c: "XENMAPSPACE_" },
  XENMEM_RESOURCE: { c: "XENMEM_resource_", without: /_id_|_frame_/ },
  XENPMU_MODE: { c: "XENPMU_MODE_" },
  XENPMU_FEATURE: { c: "XENPMU_FEATURE_" },
  XENPMU_VER: { c: "XENPMU_VER_" },
  EVTCHNSTAT: { c: "EVTCHNSTAT_" },
  EVTCHN_FIFO: { c: "EVTCHN_FIFO_" },
  GTF: { c: "GTF_" },
  GNTMAP: { c: "GNTMAP_" },
  GNTCOPY: { c: "GNTCOPY_" },
  GNTST: { c: "GNTST_" },
  GNTTAB_RESERVED: { c: "GNTTAB_RESERVED_" },
  GNTTAB_CACHE: { c: "GNTTAB_CACHE_" },
  ELFNOTE: { c: "XEN_ELFNOTE_", without: /MAX/ },
  XEN_CPUID_LEAVES: { c: (member) => `XEN_CPUID_LEAF(${leafNumber.indexOf(member)})` },
  XEN_CPUID_SIGNATURE: { c: "XEN_CPUID_SIGNATURE_" },
  XEN_HVM_CPUID: { c: "XEN_HVM_CPUID_" },
  HVM_MEMMAP: { c: "XEN_HVM_MEMMAP_TYPE_" },
  HVM_PARAM: { c: "HVM_PARAM_", without: /CALLBACK_TYPE|TYPE_MASK/ },
  HVM_CALLBACK_TYPE: { c: "HVM_PARAM_CALLBACK_TYPE_" },
  // DEBUG is the old name of CONTROL; TYPE_COUNT and the write modes are no messages.
  XS: { c: "XS_", without: /DEBUG|WRITE_|WIRE_H/ },
  XENSTORE_FEATURE: { c: "XENSTORE_SERVER_FEATURE_" },
  XENSTORE_CONNECTION: { c: "XENSTORE_", without: /FEATURE|ERROR|MAX|SIZE/ },
  XENSTORE_ERROR: { c: "XENSTORE_ERROR_" },
  XENBUS_STATE: { c: "XenbusState" },
  BLKIF_OP: { c: "BLKIF_OP_" },
  BLKIF_RSP: { c: "BLKIF_RSP_" },
  VDISK: { c: "VDISK_" },
  XENFB_TYPE: { c: "XENFB_TYPE_" },
  XENKBD_TYPE: { c: "XENKBD_TYPE_" },
  XENKBD_MT_EV: { c: "XENKBD_MT_EV_" },
  NETTXF: { c: "NETTXF_" },
  NETRXF: { c: "NETRXF_" },
  NETIF_RSP: { c: "NETIF_RSP_" },
  NETIF_EXTRA_TYPE: { c: "XEN_NETIF_EXTRA_TYPE_", without: /MAX/ },
  NETIF_GSO_TYPE: { c: "XEN_NETIF_GSO_TYPE_" },
  NETIF_CTRL_TYPE: { c: "XEN_NETIF_CTRL_TYPE_" },
  NETIF_CTRL_STATUS: { c: "XEN_NETIF_CTRL_STATUS_" },
  NETIF_CTRL_HASH_TYPE: { c: "XEN_NETIF_CTRL_HASH_TYPE_" },
  NETIF_CTRL_HASH_ALGORITHM: { c: "XEN_NETIF_CTRL_HASH_ALGORITHM_" },
  VIRT_X86_64: { c: "", only: "x86_64" },
  VIRT_X86_32: { c: "", only: "x86_32" },
};

/** Single numbers whose C expression is not their own name. */
const SCALARS: Readonly<Record<string, string>> = {
  RING_HEADER_SIZE: "offsetof(struct blkif_sring, ring)",
};
/** Exports that no public header holds, and where they are from. */
const NOT_IN_HEADERS = new Set(["MEMOP_EXTENT_SHIFT"]);

function cName(group: Group, member: string): string {
  return typeof group.c === "string" ? group.c + member : group.c(member);
}

function isNumberTable(value: unknown): value is Readonly<Record<string, number | bigint>> {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((member) => typeof member === "number" || typeof member === "bigint")
  );
}

function cType(name: string): string {
  return `${"union" in (STRUCTS as Record<string, object>)[name]! ? "union" : "struct"} ${name}`;
}

function expectEqual(target: Abi, facts: readonly (readonly [expression: string, ours: bigint])[]): void {
  const theirs = evaluate(
    target,
    facts.map(([expression]) => expression),
  );
  const wrong = facts
    .map(([expression, ours], index) => ({ expression, ours: BigInt.asUintN(64, ours), theirs: theirs[index]! }))
    .filter((fact) => fact.ours !== fact.theirs);
  expect(wrong).toEqual([]);
}

describe.each(ABIS)("in %s, as gcc reads libxen-dev,", (target) => {
  test("every exported constant has its header's value", () => {
    const facts: [string, bigint][] = [];
    for (const [name, value] of Object.entries(abi)) {
      if (typeof value === "number" || typeof value === "bigint") {
        if (!NOT_IN_HEADERS.has(name)) facts.push([SCALARS[name] ?? name, BigInt(value)]);
      } else if (isNumberTable(value)) {
        const group = GROUPS[name];
        if (group === undefined) throw new Error(`${name} is exported, but this test does not know its C names`);
        if (group.only !== undefined && group.only !== target) continue;
        for (const [member, number] of Object.entries(value)) {
          if (target === "x86_32" && group.wide?.includes(member)) continue;
          facts.push([cName(group, member), BigInt(number)]);
        }
      }
    }
    expect(facts.length).toBeGreaterThan(550);
    expectEqual(target, facts);
  });

  test("every structure has its size, and every field its offset, size and sign", () => {
    const facts: [string, bigint][] = [];
    for (const name of structNames(target)) {
      const type = cType(name);
      const { size, align } = layout(name, target);
      facts.push([`sizeof(${type})`, BigInt(size)], [`_Alignof(${type})`, BigInt(align)]);
      for (const field of describeFields(name, target)) {
        const member = `((${type} *)0)->${field.path}`;
        facts.push([`offsetof(${type}, ${field.path})`, BigInt(field.offset)]);
        // C gives a flexible array no size; ours has none either.
        if (field.size > 0) facts.push([`sizeof(${member})`, BigInt(field.size)]);
        // A guest handle is a structure around a pointer; it has no sign.
        if (field.type !== undefined && field.type !== "pointer") {
          facts.push([`(__typeof__(${member}))-1 < 0`, field.type.startsWith("s") ? 1n : 0n]);
        }
      }
    }
    expect(facts.length).toBeGreaterThan(1200);
    expectEqual(target, facts);
  });

  test("no number of an exported table's kind is left out", () => {
    const macros = [...preprocess(target, "-dM").matchAll(/^#define (\w+) (?!")(.+)$/gm)].map((match) => match[1]!);
    const missing: string[] = [];
    for (const [name, group] of Object.entries(GROUPS)) {
      if (typeof group.c !== "string" || group.c === "" || (group.only ?? target) !== target) continue;
      const table = (abi as unknown as Record<string, Record<string, unknown>>)[name]!;
      for (const macro of macros) {
        if (!macro.startsWith(group.c) || group.without?.test(macro)) continue;
        if (!Object.hasOwn(table, macro.slice(group.c.length))) missing.push(`${name} lacks ${macro}`);
      }
    }
    expect(missing).toEqual([]);
  });

  test("no structure that a guest hands to Xen is left out", () => {
    const text = preprocess(target);
    const declared = [...text.matchAll(/\b(?:struct|union) (\w+)\s*\{/g)].map((match) => match[1]!);
    const known = new Set<string>(structNames(target));
    // Of dom0, the toolstack and device models, or private to one end of a ring: no PV guest passes them.
    const others =
      /^(xenpf_|xen_hvm_(?!param|evtchn)|mem_sharing|xen_mem_(paging|access|sharing)|xen_reserved_device|xenctl_|xen_processor|xen_p[cst]t|xen_psd|xen_power|xen_platform_op|xen_arch_domainconfig|xen_cpuid_leaf|xen_msr_entry|xsd_errors|t_rec|t_buf|t_info|xen_add_to_physmap_batch_extra|.*_(front|back)_ring$|xen_9pfs_data$)/;
    expect(declared.filter((name) => !known.has(name) && !others.test(name))).toEqual([]);
  });

  test("a structure or constant that the headers lack fails the comparison", () => {
    expect(() => evaluate(target, ["sizeof(struct start_info)", "sizeof(struct no_such_thing)"])).toThrow(
      /no_such_thing/,
    );
    expect(() => evaluate(target, ["XENVER_no_such_thing"])).toThrow(/no_such_thing/);
    expect(() => expectEqual(target, [["sizeof(struct start_info)", 1n]])).toThrow();
  });
});

test("strings of the headers are ours", () => {
  const folder = mkdtempSync(join(tmpdir(), "xen-abi-"));
  try {
    const source = join(folder, "strings.c");
    writeFileSync(source, `${preamble()}\nXEN_IO_PROTO_ABI_X86_64|XEN_IO_PROTO_ABI_X86_32|XEN_EMULATE_PREFIX\n`);
    const text = execFileSync("gcc", ["-ffreestanding", "-E", "-P", source], { encoding: "utf8", maxBuffer: 1 << 26 });
    const [last] = text.trimEnd().split("\n").slice(-1);
    const prefix = abi.XEN_EMULATE_PREFIX.map((byte) => `0x${byte.toString(16).padStart(2, "0")}`).join(",");
    expect(last).toBe(`"${abi.XEN_IO_PROTO_ABI_X86_64}"|"${abi.XEN_IO_PROTO_ABI_X86_32}"|".byte ${prefix} ; "`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("every exported table of structures is reachable by name in at least one ABI", () => {
  const reachable = new Set(ABIS.flatMap((target) => structNames(target)));
  expect([...reachable].sort()).toEqual(Object.keys(STRUCTS).sort());
});
