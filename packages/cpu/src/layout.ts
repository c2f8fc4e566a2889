/**
 * Where the engine keeps its own state at the bottom of machine memory. Byte addresses; wasm code uses them as constants.
 * Guests can't name any of it: the first frame that a domain may own lies above {@link engineLayout}'s end.
 */

/** State of the VCPU that the engine executes; swapped as one piece when another VCPU runs. */
export const STATE = {
  start: 0x1000,
  /** RAX … R15, 8 bytes each. */
  gpr: 0x1000,
  /** Always zero: stands in for a missing base, index or segment base. */
  zero: 0x1080,
  /** Linear address of the code page that executes; RIP is this plus the record's offset. */
  ripBase: 0x1088,
  /** Bases of ES CS SS DS FS GS. */
  segmentBase: 0x1090,
  /** RFLAGS without the six status flags. */
  eflags: 0x10c0,
  /**
   * Lazy status flags, sign-extended operands of the last operation: `x + y = s` for the carry chain, `result` for
   * ZF, SF and PF. `delta` flips SF (bit 63) and PF (bits 0–7) where they don't follow from the result.
   */
  flagX: 0x10d0,
  flagY: 0x10d8,
  flagS: 0x10e0,
  flagDelta: 0x10e8,
  flagResult: 0x10f0,
  /** ES CS SS DS FS GS, LDTR, TR selectors, 16 bits each. */
  selectors: 0x1100,
  mxcsr: 0x1110,
  /** x87: control word, status word (TOP included), abridged tag (1 = valid), last opcode. 32 bits each. */
  fcw: 0x1114,
  fsw: 0x1118,
  ftw: 0x111c,
  fop: 0x1120,
  cr0: 0x1128,
  cr2: 0x1130,
  cr4: 0x1138,
  xcr0: 0x1140,
  /** All ones in 64-bit mode, 0xffffffff in compatibility mode: where linear addresses wrap. */
  linearMask: 0x1160,
  /** RIP while no guest code runs. */
  rip: 0x1168,
  /** What RDTSCP and RDPID answer; 8 bytes, the upper four 0. */
  tscAux: 0x1170,
  fip: 0x1148,
  fdp: 0x1150,
  /** R0–R7 of the x87 register file, 16 bytes each (64-bit significand, 16-bit sign and exponent); MM0–MM7 alias them. */
  st: 0x1180,
  /** YMM0–YMM15, 32 bytes each; XMM registers are the lower 16. */
  xmm: 0x1200,
  end: 0x1400,
} as const;

/** State of the engine itself. */
export const ENGINE = {
  /** Record at which the interpreter stopped. */
  record: 0x1400,
  /** Where control goes next, when the interpreter or a cold handler asks for a jump. */
  nextRip: 0x1408,
  /** Instructions left in this slice; signed. */
  budget: 0x1410,
  /** Fault found by a cold handler. */
  faultVector: 0x1418,
  faultError: 0x141c,
  faultAddress: 0x1420,
  /** Machine address of the top-level page table. */
  root: 0x1428,
  /** Owner tag of the running VCPU. */
  owner: 0x142c,
  /** Base of the TLB of the current address space. */
  tlb: 0x1430,
  /** A write that crosses a page: bounce bytes to scatter after the instruction. */
  commitCount: 0x1438,
  commitFirst: 0x143c,
  commitSecond: 0x1440,
  commitSplit: 0x1444,
  /** A write went to a frame that holds code: its machine address and length. */
  codeWriteAddress: 0x1448,
  codeWriteCount: 0x144c,
  tlbFills: 0x1450,
  /** Machine frames in all, and where the frame table starts. */
  frames: 0x1458,
  frameTable: 0x145c,
  slotTable: 0x147c,
  /** Where the table of code tables by frame starts. */
  codeTableOf: 0x17f0,
  /** What an instruction does beyond one instruction's work, in instructions: comes off the budget when it ends. */
  charge: 0x17e0,
  /** What came off the budget that way since JavaScript looked last. */
  charged: 0x17e4,
  /** Instructions executed in translated regions, modulo 2^32. */
  inRegions: 0x17e8,
  /** Times that a region was entered from the interpreter, modulo 2^32. */
  entered: 0x17ec,
  /** One page replaced for a single step: its linear address (1 = none) and the machine address instead. */
  overlayPage: 0x1460,
  overlayAddress: 0x1468,
  /** Not 0: the overlay answers reads only, writes go by the page tables. */
  overlayReadOnly: 0x146c,
  /** Reason of a cold handler's exit: an {@link REASON}. */
  reason: 0x1470,
  /** Machine address that the last page walk found. */
  walkAddress: 0x1474,
  /** What the walker was asked, for JavaScript to finish: 0 read, 1 write, 2 execute. */
  walkAccess: 0x1478,
  /** While single instructions are watched: what to do at each access, bits of {@link WATCH}; else 0. */
  watch: 0x1480,
  /** Accesses logged, and where: linear address (8 bytes), size, access (4 bytes each). */
  accessCount: 0x1484,
  accessLog: 0x3c00,
  /** The 32 bytes of a vector that is being computed: see `semantics/avx-operands.ts`. */
  vector: 0x1500,
  /** Lanes of 16 bytes that a function of several results leaves. */
  lanes: 0x1520,
  /** Bounce buffers for operands that cross a page. */
  bounceRead: 0x1800,
  bounceWrite: 0x1c00,
  /** Records of single instructions that have no place of their own. */
  scratchRecords: 0x2000,
  /** The record by which guest code is entered: it goes to its offset in the page at `STATE.ripBase`. */
  entryRecord: 0x2100,
  /** Constant tables of the semantics (x87 …): 48 KiB. */
  constants: 0x4000,
} as const;

/** The gate between the two halves of a guest, armed anew for each run: see `Gate` in `vcpu.ts`. */
export const GATE = {
  /** 1 while the plan below holds. */
  armed: 0x1700,
  /** Which half runs: 1 the kernel, 0 user space. */
  kernel: 0x1704,
  /** Machine addresses of both top-level tables, and the TLB contexts that belong to them; 0 where one can't be entered. */
  kernelRoot: 0x1708,
  kernelTlb: 0x170c,
  userRoot: 0x1710,
  userTlb: 0x1714,
  /** CS in the low and SS in the high half: the flat pair, and one more pair known to name 64-bit user segments. */
  flatSelectors: 0x1718,
  knownSelectors: 0x171c,
  /** Machine addresses of the bytes that mask events and say that some wait. */
  maskAt: 0x1720,
  pendingAt: 0x1724,
  /** What RAX holds when `syscall` in the kernel asks to return. */
  returnNumber: 0x1728,
  /** Times that each way was taken. */
  entries: 0x172c,
  returns: 0x1730,
  /** GS base of the half that does not run. */
  otherGsBase: 0x1738,
  /** Top of the kernel's stack, and where the kernel begins; an entry of 0 is closed. */
  stack: 0x1740,
  entry: 0x1748,
} as const;

/** Bits of `ENGINE.watch`: check that accesses are aligned (#AC), write down which memory is accessed. */
export const WATCH = { ALIGNMENT: 1, LOG: 2 } as const;
/** Accesses that the log holds; what an instruction does beyond them isn't watched. */
export const ACCESS_LOG_ENTRIES = 64;

/** A decoded instruction: 64 bytes that the interpreter reads. */
export const RECORD = {
  size: 64,
  /** Index into the main loop's table. */
  hot: 0,
  /** Slot of the function that executes it in full generality. */
  slot: 4,
  /** Address of the first three operands' bytes: a register, or the immediate below. */
  a: 8,
  b: 12,
  c: 16,
  /** Addresses of the base, index and segment base registers. */
  base: 20,
  indexRegister: 24,
  scale: 28,
  length: 29,
  /** Offset of the instruction in its page. */
  offset: 30,
  displacement: 32,
  immediate: 40,
  segment: 48,
  /** Record of a branch's target in the same page, 0 until known; the second immediate elsewhere. */
  target: 52,
  /** Mask of the address size: all ones, 0xffffffff or 0xffff. */
  addressMask: 56,
} as const;

/** A record that leads into a translated region holds the region above so many bits of {@link RECORD.hot}, the entry's number in them. */
export const REGION_ENTRY_BITS = 10;

/** TLB geometry: read, write and execute arrays, one set for each address space. */
export const TLB = {
  start: 0x10000,
  entries: 1024,
  entryBytes: 16,
  /** Byte offsets of the arrays in a context. */
  read: 0,
  write: 16384,
  execute: 32768,
  contextBytes: 49152,
  contexts: 16,
  /** A tag that matches no page, nor a page with the bits that misaligned addresses of vectors add: see `tlb-probe.ts`. */
  invalid: 0x10n,
} as const;

/** Bits of an entry in the frame table: low 15 bits are the owner. */
export const FRAME = {
  ownerMask: 0x7fff,
  nobody: 0x7fff,
  /** No writable TLB entry may be made. */
  readOnly: 0x10000,
  /** Code was decoded from it: writes take the slow path. */
  code: 0x20000,
  /** Some TLB may hold it. */
  cached: 0x40000,
  readableByAll: 0x80000,
  /** More TLB slots may hold it than are remembered: only a scan finds them all. */
  scattered: 0x100000,
} as const;

/** What the interpreter or a cold handler says to its caller. */
export const STATUS = {
  /** Done; the next record follows. */
  NEXT: 0,
  /** Done; control goes to `ENGINE.nextRip`. */
  JUMP: 1,
  /** Nothing happened to guest state that isn't exact; `ENGINE.reason` tells what is needed. */
  EXIT: 2,
} as const;

/** Why wasm code returned to JavaScript. */
export const REASON = {
  BUDGET: 1,
  /** `ENGINE.nextRip` has no record yet. */
  DECODE: 2,
  /** A fault: see the fault fields. */
  FAULT: 3,
  /** JavaScript executes the instruction at `ENGINE.record`; RIP is still at it. */
  SERVICE: 4,
  /** A page walk needs JavaScript (foreign frame or large page); then the instruction starts again. */
  WALK: 5,
  /** The instruction is done and wrote to code; control goes on at `ENGINE.nextRip`. */
  CODE_WRITE: 6,
  /** A fault for a non-canonical address: #GP(0), or #SS(0) for a stack access. */
  NON_CANONICAL: 7,
  /** A repeated string instruction has done much and is not at its end; all registers are exact, RIP is still at it. */
  PAUSE: 8,
} as const;

/** Results of the page walker. FAULT and SLOW have set `ENGINE.reason`. */
export const WALK = { FILLED: 0, FAULT: 1, CODE: 2, SLOW: 3 } as const;

/** What an access does, as the walker and {@link Lowering.translate} number it. */
export const ACCESS = {
  READ: 0,
  WRITE: 1,
  EXECUTE: 2,
} as const;

/** Addresses that depend on the size of memory. */
export interface EngineLayout {
  readonly frameTable: number;
  /** For each frame {@link SLOTS_PER_FRAME} addresses of TLB slots that may hold it, 0 for none: what to look at when it must go. */
  readonly slotTable: number;
  /** For each frame the address of its table of 64-bit code, 0 for none. */
  readonly codeTableOf: number;
  readonly codeTables: number;
  readonly codeTableCount: number;
  readonly records: number;
  readonly recordsEnd: number;
  readonly firstFrame: number;
  readonly frames: number;
}

/** Bytes of a code page's table: a record address for each byte offset. */
export const CODE_TABLE_BYTES = 16384;

/**
 * TLB slots remembered for each frame. A page of a process has three at most while nothing else maps it: one in each of
 * its two address spaces, and one in the kernel's map of all memory.
 */
export const SLOTS_PER_FRAME = 4;
/** Bytes that the frame tables have for each frame. */
const FRAME_BYTES = 4 + SLOTS_PER_FRAME * 4 + 4;

/** Lays the engine's own memory below `domainBytes` of memory for domains. */
export function engineLayout(domainBytes: number): EngineLayout {
  const codeTableCount = 4096;
  const recordBytes = 64 << 20;
  const frameTable = TLB.start + TLB.contextBytes * TLB.contexts;
  const fixed = codeTableCount * CODE_TABLE_BYTES + recordBytes;
  // The frame tables cover the engine's own frames too: over-estimate those a little.
  const frames =
    Math.ceil((frameTable + fixed + domainBytes) / 4096) + Math.ceil((domainBytes / 4096) * (FRAME_BYTES / 4096)) + 400;
  const slotTable = (frameTable + frames * 4 + 15) & ~15;
  const codeTableOf = slotTable + frames * SLOTS_PER_FRAME * 4;
  const codeTables = (codeTableOf + frames * 4 + 4095) & ~4095;
  const records = codeTables + codeTableCount * CODE_TABLE_BYTES;
  const recordsEnd = records + recordBytes;
  const firstFrame = Math.ceil(recordsEnd / 4096);
  const all = firstFrame + Math.ceil(domainBytes / 4096);
  return {
    frameTable,
    slotTable,
    codeTableOf,
    codeTables,
    codeTableCount,
    records,
    recordsEnd,
    firstFrame,
    frames: Math.ceil(all / 16) * 16,
  };
}
