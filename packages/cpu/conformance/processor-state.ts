/** How a page of a case may be used; the numbers are oracle.c's. */
export const PAGE_ACCESS = { READ_ONLY: 0, READ_WRITE: 1, EXECUTE: 2 } as const;

/** A 4 KiB page that every case finds mapped. */
export interface CasePage {
  /** Linear address. */
  readonly address: number;
  readonly access: 0 | 1 | 2;
  /** What it holds before the case's patches. */
  readonly image: Uint8Array;
}

/** Registers around an instruction. */
export interface ProcessorState {
  readonly rip: bigint;
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8–R15. */
  readonly general: BigUint64Array;
  readonly flags: bigint;
  readonly fsBase: bigint;
  readonly gsBase: bigint;
  /** DS, ES, FS, GS, CS, SS. */
  readonly selectors: Uint16Array;
  /** x87, MMX and SSE state: the first 416 bytes of an FXSAVE image, without the instruction and data pointers. */
  readonly fx: Uint8Array;
  /** The upper halves of YMM0–YMM15, 16 bytes each. */
  readonly upper: Uint8Array;
}

/** Bytes that differ from a page's image before the case. */
export interface Patch {
  /** Index of the page. */
  readonly page: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** How native execution ends: by the trap of single step, or by a breakpoint that follows, where TF would show or come too soon. */
export const METHOD = { SINGLE_STEP: 0, BREAKPOINT: 1 } as const;

/** State before one instruction. */
export interface Case {
  /** 64, or 32 for compatibility mode. */
  readonly bits: 64 | 32;
  /** A {@link METHOD}. */
  readonly method: 0 | 1;
  readonly state: ProcessorState;
  /** The instruction is one of them. */
  readonly patches: readonly Patch[];
}

/** {@link Outcome.vector} of an instruction that completed, and of two ways not to end that no exception has. */
export const COMPLETED = 0xff;
export const TIMED_OUT = 0xfe;
export const SYSTEM_CALL = 0xfd;

/** What became of a case. */
export interface Outcome {
  /** Vector of the exception, or {@link COMPLETED}. */
  readonly vector: number;
  readonly error: number;
  /** Faulting address of a #PF, else 0. */
  readonly cr2: bigint;
  readonly state: ProcessorState;
  /** Bytes that changed, page by page and in ascending order: page × 2²⁰ + offset × 2⁸ + byte. */
  readonly changes: readonly number[];
}

/** Bytes of {@link ProcessorState.upper}. */
export const UPPER_BYTES = 256;

/** Offsets in an FXSAVE image (SDM 1, table 10-2). */
export const FX = { controlWord: 0, statusWord: 2, tags: 4, mxcsr: 24, st: 32, xmm: 160, end: 416 } as const;
