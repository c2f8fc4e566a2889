import { type Mfn, PAGE_SIZE, ParavirtError, type Pfn, type Port } from "@paravirt/core";
import { FLAT, writeHypercallPage } from "@paravirt/xen-abi";
import type { PvPlan } from "./pv-plan.ts";
import { tableEntries } from "./pv-tables.ts";
import { type DomuStartInfo, encodeStartInfo } from "./start-info.ts";
import { utf8Encode } from "./text.ts";

/** What {@link buildPvDomain} does to a machine: it has no memory of its own. */
export interface PvBuildPorts {
  /** Gives the domain a zeroed frame as its `pfn` and answers its number. Called once for each pfn, in order. */
  populate(pfn: Pfn): Mfn;
  /** Writes `bytes`, at most a page, at `offset` of a frame. */
  write(mfn: Mfn, offset: number, bytes: Uint8Array): void;
  /** Writes entry `index` of the page table in frame `table`: `target` with `flags` in bits 0 to 11. */
  writeEntry(table: Mfn, index: number, target: Mfn, flags: number): void;
}

/** What the toolstack gives the domain besides its plan. */
export interface PvBuildOptions {
  /** Frame of the shared info page, which isn't among the domain's own. */
  readonly sharedInfo: Mfn;
  /** The domain's end of the xenstore channel; 1 on real Xen. */
  readonly storePort: Port;
  /** The domain's end of the console channel; 2 on real Xen. */
  readonly consolePort: Port;
}

/** State of VCPU 0 before its first instruction (libxc's vcpu_x86_64); registers not named are 0. */
export interface PvVcpuState {
  /** First instruction. */
  readonly rip: bigint;
  /** Top of the boot stack. */
  readonly rsp: bigint;
  /** Address of start_info. */
  readonly rsi: bigint;
  /** IF alone. */
  readonly rflags: bigint;
  /** FLAT_KERNEL_CS. */
  readonly cs: number;
  /** FLAT_KERNEL_SS. */
  readonly ss: number;
  /** DS, ES, FS and GS. */
  readonly ds: number;
  /** Frame of the top page table. */
  readonly cr3: Mfn;
}

/** A domain as {@link buildPvDomain} leaves it. */
export interface BuiltPvDomain {
  /** Registers of the first VCPU. */
  readonly vcpu: PvVcpuState;
  /** Machine frame by pfn. */
  readonly frames: Uint32Array;
  /** Machine frames of the two rings, which become grants 0 (console) and 1 (xenstore) of domain 0. */
  readonly consoleFrame: Mfn;
  /** Frame of the xenstore ring. */
  readonly storeFrame: Mfn;
  /** What the start info page says. */
  readonly startInfo: DomuStartInfo;
  /** Frames of every page table that was written, first the top one. */
  readonly tableFrames: readonly Mfn[];
}

const RFLAGS_IF = 0x200n;

/**
 * Writes a planned PV domain into memory through `ports` and answers the state of its first VCPU.
 * What `ports` throws passes through; the plan itself is trusted.
 */
export function buildPvDomain(plan: PvPlan, ports: PvBuildPorts, options: PvBuildOptions): BuiltPvDomain {
  const frames = new Uint32Array(plan.pages);
  for (let pfn = 0; pfn < plan.pages; pfn++) frames[pfn] = ports.populate(pfn as Pfn);
  const frameOf = (pfn: number): Mfn => {
    if (pfn >= plan.pages)
      throw new ParavirtError("BUG", `the plan names pfn ${pfn} of a domain of ${plan.pages} pages`);
    return frames[pfn] as Mfn;
  };
  const writeAt = (address: number, bytes: Uint8Array): void => {
    for (let done = 0; done < bytes.length; ) {
      const offset = (address + done) % PAGE_SIZE;
      const size = Math.min(PAGE_SIZE - offset, bytes.length - done);
      ports.write(frameOf(Math.floor((address + done) / PAGE_SIZE)), offset, bytes.subarray(done, done + size));
      done += size;
    }
  };
  for (const load of plan.loads) writeAt(load.address, load.bytes);
  if (plan.hypercallPage !== undefined) {
    const page = new Uint8Array(PAGE_SIZE);
    writeHypercallPage(page, 0);
    writeAt(plan.hypercallPage * PAGE_SIZE, page);
  }

  const list = new DataView(new ArrayBuffer(plan.pages * 8));
  for (let pfn = 0; pfn < plan.pages; pfn++) list.setUint32(pfn * 8, frames[pfn]!, true);
  writeAt(plan.p2m.pfn * PAGE_SIZE, new Uint8Array(list.buffer));

  const tables = new Set<Mfn>();
  for (const entry of tableEntries(plan.mappings)) {
    const table = frameOf(entry.table);
    tables.add(table);
    ports.writeEntry(table, entry.index, frameOf(entry.target), entry.flags);
  }

  const address = (pfn: number): bigint => plan.virtBase + BigInt(pfn) * BigInt(PAGE_SIZE);
  const startInfo: DomuStartInfo = {
    magic: "xen-3.0-x86_64",
    nr_pages: plan.pages,
    shared_info: BigInt(options.sharedInfo) * BigInt(PAGE_SIZE),
    flags: plan.flags,
    store_mfn: frameOf(plan.xenstore),
    store_evtchn: options.storePort,
    console: { domU: { mfn: frameOf(plan.console), evtchn: options.consolePort } },
    pt_base: address(plan.pageTables.pfn),
    nr_pt_frames: plan.pageTables.pages,
    mfn_list: plan.p2mAddress,
    mod_start: plan.moduleStart,
    mod_len: BigInt(plan.moduleLength),
    // A text field holds bytes, one a character.
    cmd_line: String.fromCharCode(...utf8Encode(plan.commandLine)),
    // libxc fills these two only for a list with its own mapping.
    first_p2m_pfn: plan.p2mApart ? plan.p2m.pfn : 0,
    nr_p2m_frames: plan.p2mApart ? plan.p2m.pages : 0,
  };
  writeAt(plan.startInfo * PAGE_SIZE, encodeStartInfo(startInfo));

  const cr3 = frameOf(plan.pageTables.pfn);
  return {
    vcpu: {
      rip: plan.entry,
      rsp: address(plan.bootStack + 1),
      rsi: address(plan.startInfo),
      rflags: RFLAGS_IF,
      cs: FLAT.KERNEL_CS,
      ss: FLAT.KERNEL_SS,
      ds: FLAT.KERNEL_DS,
      cr3,
    },
    frames,
    consoleFrame: frameOf(plan.console),
    storeFrame: frameOf(plan.xenstore),
    startInfo,
    tableFrames: [cr3, ...[...tables].filter((mfn) => mfn !== cr3)],
  };
}
