/** Where a program's pages lie, in both of its address spaces. All below 4 GiB, so that 32-bit code reaches them. */
export const PLACES = {
  /** Two pages to read and write; the first differs between the address spaces. */
  data: 0xa00000,
  /** A page that is read-only. */
  readOnly: 0xa02000,
  /** A page that is missing until a fault or a host call maps it. */
  missing: 0xa03000,
  /** A page whose frame and permissions host calls change. */
  moving: 0xa04000,
  /** Two pages of stack. */
  stack: 0xb00000,
  /** A page of stack for what a gate enters. */
  gateStack: 0xb04000,
  /** Eight pages of 64-bit code, writable. */
  code: 0xc00000,
  /** A page of 32-bit code. */
  code32: 0xc10000,
  /** A page of functions, with other contents in the other address space. */
  functions: 0xc20000,
  /** The code frames once more, writable. */
  alias: 0xd00000,
  /** The two data pages of the first address space once more, at the end of canonical addresses. */
  high: 0x7fffffffe000n,
} as const;

/** Code pages at {@link PLACES.code}. */
export const CODE_PAGES = 8;
/** Functions at {@link PLACES.functions} and routines at {@link PLACES.code32}, one each this many bytes. */
export const SLOT_BYTES = 256;
/** How many of them there are. */
export const SLOTS = 6;

/** Offsets in the first data page that no random store reaches. */
export const CELLS = {
  /** 16 quads: targets of indirect jumps. */
  jumps: 0xe00,
  /** 8 quads: targets of indirect calls. */
  calls: 0xe80,
  /** A far pointer of six bytes for each 32-bit routine. */
  far: 0xf00,
  /** The far pointer by which 32-bit code comes back. */
  back: 0xf60,
  /** Times that the guest's fault handler ran. */
  faults: 0xf80,
} as const;

/** What `int n` asks of the host. */
export const HOST_CALL = {
  end: 0x80,
  firstSpace: 0x81,
  secondSpace: 0x82,
  /** Puts another frame behind the moving page. */
  move: 0x83,
  /** Makes the moving page read-only, or writable again. */
  protect: 0x84,
  /** Takes the missing page away. */
  unmap: 0x85,
  /** Puts the other frame of functions behind the functions page. */
  moveFunctions: 0x86,
  /** The host writes to code. */
  patch: 0x87,
  /** Another VCPU writes to code. */
  crossPatch: 0x88,
  /** The other VCPU computes for a while. */
  otherVcpu: 0x89,
  /** Everything cached of one frame is forgotten. */
  forget: 0x8a,
  /** All translations are dropped. */
  flush: 0x8b,
} as const;

/** What RAX holds to return through the gate. */
export const GATE_RETURN = 23;

/** Selectors of flat segments at CPL 3, as Xen's guests have them. */
export const SELECTOR = { code32: 0x23, data: 0x2b, code64: 0x33 } as const;
