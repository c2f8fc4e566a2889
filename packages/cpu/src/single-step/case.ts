/** State of the processor and its pages before one instruction; build it with {@link resetCase} and change what matters. */
export interface StepCase {
  /** The instruction's bytes, 1 to 15 of them; laid over whatever the pages have at `at`. */
  code: Uint8Array;
  /** Linear address of the instruction. */
  at: bigint;
  /** 64-bit mode, or compatibility mode with 32-bit segments. */
  mode: 64 | 32;
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8–R15. */
  regs: BigUint64Array;
  /** RFLAGS; bit 1 is always set. VM and reserved bits must be clear. */
  rflags: bigint;
  /** XMM0–XMM15, 16 bytes each, as memory has them. */
  xmm: Uint8Array;
  /** The upper halves of YMM0–YMM15, 16 bytes each; `undefined` when nobody asks for them: then they are zero. */
  ymmh: Uint8Array | undefined;
  /** MXCSR, 16 bits. */
  mxcsr: number;
  /** The x87 unit. */
  fpu: StepFpu;
  /** Linear bases of FS and GS. */
  fsBase: bigint;
  /** See `fsBase`. */
  gsBase: bigint;
  /** All that is mapped, for user mode and executable, beside the page or two that hold `code`. */
  pages: readonly StepPage[];
}

/** x87 state as FXSAVE shows it. */
export interface StepFpu {
  /** Control word. */
  cw: number;
  /** Status word, TOP included. */
  sw: number;
  /** Abridged tags: bit n is set when register Rn (not ST(n)) holds a value. */
  tw: number;
  /** ST(0) to ST(7), ten bytes each, as memory has them. */
  st: Uint8Array;
}

/** A 4 KiB page before the instruction. */
export interface StepPage {
  /** Linear address, a multiple of 4096. */
  readonly at: bigint;
  /** Its first bytes, 4096 at most; the rest is zero. */
  readonly data: Uint8Array;
  /** Whether user mode may write to it. */
  readonly writable: boolean;
}

/** What one instruction made of a {@link StepCase}. */
export interface StepOutcome {
  /** Address of the next instruction, or of the one that faulted. */
  readonly rip: bigint;
  /** The exception it raised, if any. */
  readonly exception: StepException | undefined;
  /** Registers afterwards; the arrays are the caller's. */
  readonly regs: BigUint64Array;
  /** See {@link StepCase.rflags}. */
  readonly rflags: bigint;
  /** See {@link StepCase.xmm}. */
  readonly xmm: Uint8Array;
  /** The upper halves of YMM0–YMM15; `undefined` when the case gave none and all are zero. */
  readonly ymmh: Uint8Array | undefined;
  /** See {@link StepCase.mxcsr}. */
  readonly mxcsr: number;
  /** See {@link StepCase.fpu}. */
  readonly fpu: Readonly<StepFpu>;
  /** Runs of bytes whose value changed, in order of address; runs that touch are one. */
  readonly changes: readonly StepChange[];
}

/** An exception, as the processor would push it. */
export interface StepException {
  /** Its vector. */
  readonly vector: number;
  /** Its error code; 0 when it has none. */
  readonly error: number;
  /** CR2 of a page fault, else 0. */
  readonly cr2: bigint;
}

/** Bytes that changed. */
export interface StepChange {
  /** Linear address of the first. */
  readonly at: bigint;
  /** Their new values. */
  readonly bytes: Uint8Array;
}

/** Where an instruction lies unless told otherwise: RIP after reset. */
export const RESET_RIP = 0xfff0n;

/** A case with everything as after reset (FNINIT, MXCSR 0x1f80, flags clear), no pages and no code. */
export function resetCase(): StepCase {
  return {
    code: new Uint8Array(0),
    at: RESET_RIP,
    mode: 64,
    regs: new BigUint64Array(16),
    rflags: 2n,
    xmm: new Uint8Array(256),
    ymmh: undefined,
    mxcsr: 0x1f80,
    fpu: { cw: 0x37f, sw: 0, tw: 0, st: new Uint8Array(80) },
    fsBase: 0n,
    gsBase: 0n,
    pages: [],
  };
}
