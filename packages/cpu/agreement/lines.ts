import { decode, Instruction, OPCODES, OPERAND } from "@paravirt/x86";
import { CELLS, HOST_CALL, PLACES, SELECTOR, SLOT_BYTES, SLOTS } from "./places.ts";
import type { Random } from "./random.ts";

// RSP stays a stack pointer, RBX points at data, R15 and R14 count loops: the rest is free.
const FREE = [0, 1, 2, 6, 7, 5, 8, 9, 10, 11, 12, 13];
const NAMES = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");
const NAMES32 = "eax ecx edx ebx esp ebp esi edi r8d r9d r10d r11d r12d r13d".split(" ");
const NAMES16 = "ax cx dx bx sp bp si di r8w r9w r10w r11w r12w r13w".split(" ");
const NAMES8 = "al cl dl bl spl bpl sil dil r8b r9b r10b r11b r12b r13b".split(" ");
const LEGACY8 = ["al", "cl", "dl", "ah", "ch", "dh"];
const CONDITIONS = ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"];
const ALU = ["add", "sub", "adc", "sbb", "and", "or", "xor", "cmp", "test"];
const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** What lines may name. */
export interface LineContext {
  /** Patchable instructions: the labels `patch0` …. */
  readonly patches: number;
  /** Blocks: the labels `block0` …. */
  readonly blocks: number;
  /** Makes a label that nobody has used. */
  fresh(): string;
}

/** A kind of line: text for one random draw. */
export type LineKind = (r: Random, context: LineContext) => string;

const reg = (r: Random): string => NAMES[r.pick(FREE)]!;
const reg32 = (r: Random): string => NAMES32[r.pick(FREE)]!;
const reg16 = (r: Random): string => NAMES16[r.pick(FREE)]!;
const reg8 = (r: Random): string => NAMES8[r.pick(FREE)]!;
/** What goes without REX: AH, CH, DH and their like. */
const legacy8 = (r: Random): string => r.pick(LEGACY8);
const xmm = (r: Random): string => `xmm${r.below(10)}`;

/** Displacement from RBX into the data pages, their border included, short of the cells. */
function place(r: Random, align = 1): number {
  const kind = r.below(10);
  if (kind === 0) return (4096 - 16 + r.below(20)) & -align;
  if (kind === 1) return (8192 - 16 + r.below(24)) & -align;
  const at = r.below(0xe00 - 64);
  return (r.chance(40) ? 4096 + at : at) & -align;
}

function memory(r: Random, size: string, align = 1): string {
  return `${size} ptr [rbx+${place(r, align)}]`;
}

const WIDTHS = [
  ["qword", reg],
  ["dword", reg32],
  ["word", reg16],
  ["byte", reg8],
] as const;

/** Integer instructions that fault nowhere. */
export const integer: LineKind = (r) => {
  const [size, of] = r.pick(WIDTHS);
  switch (r.below(22)) {
    case 0:
    case 1:
    case 2:
      return `${r.pick(ALU)} ${of(r)}, ${of(r)}`;
    case 3:
    case 4:
      return `${r.pick(ALU)} ${of(r)}, ${r.below(256) - 128}`;
    case 5:
      return `${r.pick(["add", "sub", "and", "or", "xor", "cmp", "adc", "sbb"])} ${memory(r, size)}, ${of(r)}`;
    case 6:
      return `${r.pick(["add", "sub", "adc", "xor", "cmp", "mov", "and"])} ${of(r)}, ${memory(r, size)}`;
    case 7:
      return `${r.pick(["inc", "dec", "not", "neg"])} ${r.chance(50) ? of(r) : memory(r, size)}`;
    case 8:
      return `${r.pick(["shl", "shr", "sar", "rol", "ror", "rcl", "rcr"])} ${of(r)}, ${r.below(70)}`;
    case 9:
      return `${r.pick(["shl", "shr", "sar", "rol", "ror"])} ${r.chance(70) ? of(r) : memory(r, size)}, cl`;
    case 10:
      return `${r.pick(["shld", "shrd"])} ${reg(r)}, ${reg(r)}, ${r.below(70)}`;
    case 11:
      return r.chance(50)
        ? `cmov${r.pick(CONDITIONS)} ${reg32(r)}, ${reg32(r)}`
        : `cmov${r.pick(CONDITIONS)} ${reg(r)}, ${memory(r, "qword")}`;
    case 12:
      return `set${r.pick(CONDITIONS)} ${r.chance(80) ? reg8(r) : memory(r, "byte")}`;
    case 13:
      return r.chance(60)
        ? `imul ${reg(r)}, ${reg(r)}`
        : `imul ${reg32(r)}, ${memory(r, "dword")}, ${r.below(999) - 500}`;
    case 14:
      return r.chance(50) ? `movzx ${reg32(r)}, ${reg8(r)}` : `movsx ${reg(r)}, ${memory(r, "word")}`;
    case 15:
      return `lea ${reg(r)}, [${reg(r)}+${reg(r)}*${r.pick([1, 2, 4, 8])}+${r.below(4000)}]`;
    case 16:
      return `mov ${memory(r, size)}, ${of(r)}`;
    case 17:
      return r.chance(50) ? `mov ${reg(r)}, ${hex(r.wide())}` : `mov ${reg32(r)}, ${hex(r.bits())}`;
    case 18:
      return `xchg ${r.chance(60) ? of(r) : memory(r, size)}, ${of(r)}`;
    case 19:
      return `${r.pick(["mul", "imul"])} ${r.chance(60) ? of(r) : memory(r, size)}`;
    case 20:
      return `${r.pick(["bsf", "bsr", "popcnt", "bt", "bts", "btr"])} ${reg(r)}, ${reg(r)}`;
    default:
      return r.pick([
        `bswap ${reg(r)}`,
        "cdq",
        "cqo",
        "cwde",
        "cdqe",
        `lock xadd ${memory(r, "qword")}, ${reg(r)}`,
        `lock cmpxchg ${memory(r, "dword")}, ${reg32(r)}`,
        `xadd ${reg(r)}, ${reg(r)}`,
        `${r.pick(ALU)} ${legacy8(r)}, ${legacy8(r)}`,
        `mov ${legacy8(r)}, ${legacy8(r)}`,
        `add ${memory(r, "byte")}, ${legacy8(r)}`,
        "lahf",
        "sahf",
        "cmc",
        "stc",
        "clc",
      ]);
  }
};

/** The stack: pushes and pops that match, frames, flags through it. */
export const stack: LineKind = (r) => {
  switch (r.below(8)) {
    case 0:
      return `push ${reg(r)}\npop ${reg(r)}`;
    case 1:
      return `push ${memory(r, "qword")}\npop ${memory(r, "qword")}`;
    case 2:
      return `pushfq\npop ${reg(r)}`;
    case 3:
      return `push ${r.below(2 ** 31)}\npopfq\ncld`.replace(/\d+/, String(r.below(4096) & 0x8d5));
    case 4:
      return `push ${reg16(r)}\npop ${reg16(r)}`;
    case 5:
      return `enter ${r.below(64)}, ${r.pick([0, 0, 0, 1, 2])}\nleave`;
    case 6:
      return `push rbp\nmov rbp, rsp\nsub rsp, 64\nmov [rbp-8], ${NAMES[r.pick([0, 1, 2, 6])]}\nmov rsp, rbp\npop rbp`;
    default:
      return `mov [rsp-${8 + r.below(100)}], ${reg(r)}`;
  }
};

const target = (context: LineContext, r: Random): string => `func${r.below(context.blocks > 0 ? SLOTS : 1)}`;

/** Calls, direct and through tables and registers; functions lie in another page or in this one. */
export const call: LineKind = (r, context) => {
  switch (r.below(7)) {
    case 0:
    case 1:
      return `call ${target(context, r)}`;
    case 2:
      return `call leaf${r.below(3)}`;
    case 3:
      return `mov ecx, eax\nand ecx, 7\ncall qword ptr [rbx+rcx*8+${CELLS.calls}]`;
    case 4:
      return `lea r11, [rip+leaf${r.below(3)}]\ncall r11`;
    case 5:
      return `mov ebp, ${1 + r.below(12)}\ncall recursive`;
    default: {
      const label = context.fresh();
      // A return that returns elsewhere than after its call.
      return `lea rax, [rip+${label}]\npush rax\nret\nud2\n${label}:`;
    }
  }
};

/** An indirect jump through a table to blocks that lie ahead. */
export const indirect: LineKind = (r, context) => {
  if (r.chance(50)) {
    const [one, two, end] = [context.fresh(), context.fresh(), context.fresh()];
    const choice = reg(r);
    return [
      `lea rdx, [rip+${one}]`,
      `lea r11, [rip+${two}]`,
      `test ${choice}, ${1 << r.below(5)}`,
      "cmovne rdx, r11",
      "jmp rdx",
      `${one}:`,
      integer(r, context),
      `jmp ${end}`,
      `${two}:`,
      integer(r, context),
      `${end}:`,
    ].join("\n");
  }
  const [one, two] = [context.fresh(), context.fresh()];
  return [
    `lea rax, [rip+${one}]`,
    `mov [rbx+${CELLS.jumps}], rax`,
    `lea rax, [rip+${two}]`,
    `mov [rbx+${CELLS.jumps + 8}], rax`,
    `mov eax, ${reg32(r)}`,
    "and eax, 1",
    `jmp qword ptr [rbx+rax*8+${CELLS.jumps}]`,
    `${one}:`,
    integer(r, context),
    `${two}:`,
  ].join("\n");
};

/** A short loop of its own. */
export const loop: LineKind = (r, context) => {
  const label = context.fresh();
  const body = Array.from({ length: 1 + r.below(3) }, () => integer(r, context));
  if (r.chance(30))
    return [
      `mov ecx, ${1 + r.below(9)}`,
      `${label}:`,
      `add rdx, rsi`,
      `lea rsi, [rsi+rcx*2]`,
      `${r.pick(["loop", "loopne", "loope"])} ${label}`,
    ].join("\n");
  return [`mov r14d, ${1 + r.below(9)}`, `${label}:`, ...body, "dec r14d", `jnz ${label}`].join("\n");
};

/** String operations within the data pages, up and down, their borders included. */
export const strings: LineKind = (r) => {
  const size = r.pick(["b", "w", "d", "q"]);
  const name = r.pick(["movs", "stos", "lods", "cmps", "scas"]) + size;
  const count = r.chance(80) ? r.below(40) : r.below(300);
  const down = r.chance(25);
  const from = down ? 2048 + r.below(1000) : r.chance(30) ? 3500 + r.below(700) : r.below(1200);
  // Upwards from the second page on, so that the cells at the end of the first stay.
  const to = down ? 4096 + 2500 + r.below(1400) : 4096 + r.below(1600);
  const prefix =
    name.startsWith("cmps") || name.startsWith("scas") ? r.pick(["repe ", "repne ", ""]) : r.pick(["rep ", "rep ", ""]);
  const overlap = r.chance(20) ? `\nlea rsi, [rdi-${r.below(9)}]` : "";
  return [
    `lea rsi, [rbx+${from}]`,
    `lea rdi, [rbx+${to}]${overlap}`,
    `mov ecx, ${count}`,
    ...(down ? ["std"] : []),
    prefix + name,
    ...(down ? ["cld"] : []),
  ].join("\n");
};

const RARELY = (r: Random): string => `test r15d, ${r.pick([1, 3, 7, 15, 31])}`;

/** Stores into code: ahead, behind, by any width, through the alias, over page borders. */
export const selfModifying: LineKind = (r, context) => {
  const skip = context.fresh();
  const label = `patch${r.below(context.patches)}`;
  const offset = r.chance(30) ? PLACES.alias - PLACES.code : 0;
  const at = (plus: number) => `[rip+${label}${offset + plus > 0 ? `+${offset + plus}` : ""}]`;
  const store = [
    `inc byte ptr ${at(1)}`,
    `xor byte ptr ${at(0)}, 0x28`,
    `mov dword ptr ${at(1)}, ${reg32(r)}`,
    `mov word ptr ${at(1)}, ${reg16(r)}`,
    `lea rdi, ${at(1)}\nmov eax, r15d\nstosb`,
    `lea rdi, ${at(1)}\nmov eax, r15d\nmov ecx, 4\nrep stosb`,
    `lea rdi, ${at(1)}\nlea rsi, [rbx+${r.below(2000)}]\nmov ecx, 4\nrep movsb`,
    `movd xmm0, ${reg32(r)}\nmovd dword ptr ${at(1)}, xmm0`,
    `lock inc dword ptr ${at(1)}`,
    `lea rdi, ${at(0)}\nxor dword ptr [rdi], 0x2828`,
  ];
  const body = r.chance(15) ? `int ${hex(r.pick([HOST_CALL.patch, HOST_CALL.crossPatch]))}` : r.pick(store);
  return r.chance(40) ? body : [RARELY(r), `jnz ${skip}`, body, `${skip}:`].join("\n");
};

/** What a processor refuses in the middle of a program. */
export const faulting: LineKind = (r, context) => {
  const skip = context.fresh();
  const [size, of] = r.pick(WIDTHS);
  const bad =
    r.pick([PLACES.readOnly, PLACES.missing, PLACES.missing, PLACES.moving, PLACES.missing + 4096 * 5]) - PLACES.data;
  const at = r.chance(25) ? bad - 1 - r.below(4) : bad + r.below(4000);
  const lines = [
    `mov ${size} ptr [rbx+${at}], ${of(r)}`,
    `add ${size} ptr [rbx+${at}], ${of(r)}`,
    `mov ${of(r)}, ${size} ptr [rbx+${at}]`,
    `xchg qword ptr [rbx+${at}], ${reg(r)}`,
    `movups [rbx+${at}], ${xmm(r)}`,
    `mov rax, ${hex(PLACES.high + BigInt(8192 - r.below(16)))}\nmov rdx, [rax]`,
    `mov rax, ${hex(0x8000_0000_0000n << BigInt(r.below(10)))}\nmov [rax], rdx`,
    `xor ecx, ecx\n${r.pick(["div", "idiv"])} ${r.pick(["rcx", "ecx", "cx", "cl"])}`,
    `mov edx, ${r.below(100)}\nmov ecx, ${1 + r.below(100)}\ndiv ${r.pick(["rcx", "ecx"])}`,
    "ud2",
    "hlt",
    "int3",
    "syscall",
    `movaps xmm1, [rbx+${place(r) | 1}]`,
    `lea rdi, [rbx+${bad - 40}]\nmov ecx, 20\nrep stosq`,
    `lea rsi, [rbx+${bad - 40}]\nlea rdi, [rbx+4200]\nmov ecx, 60\nrep movsb`,
    `push qword ptr [rbx+${at}]\npop rax`,
    `call qword ptr [rbx+${at}]`,
    `mov rbp, rsp\nlea rsp, [rbx+${bad + 4}]\npush rax\nmov rsp, rbp`,
    `mov rbp, rsp\nlea rsp, [rbx+${bad + 4}]\ncall leaf0\nmov rsp, rbp`,
    `in al, dx`,
    `fld tbyte ptr [rbx+${at}]`,
    `cmpxchg16b [rbx+${place(r) | 1}]`,
  ];
  return [RARELY(r), `jnz ${skip}`, r.pick(lines), `${skip}:`].join("\n");
};

/** Into 32-bit code and back: even routines return from a far call, odd ones jump back through a far pointer. */
export const modeSwitch: LineKind = (r, context) => {
  const pair = r.below(SLOTS / 2) * 2;
  if (r.chance(50)) return `call far fword ptr [rbx+${CELLS.far + pair * 8}]`;
  const back = context.fresh();
  const pushes = `push ${SELECTOR.code32}\npush ${hex(PLACES.code32 + (pair + 1) * SLOT_BYTES)}`;
  const transfer = r.pick([
    `${pushes}\nretfq`,
    `mov r11, rsp\npush ${SELECTOR.data}\npush r11\npushfq\n${pushes}\niretq`,
    `jmp far fword ptr [rbx+${CELLS.far + (pair + 1) * 8}]`,
  ]);
  return `lea eax, [rip+${back}]\nmov [rbx+${CELLS.back}], eax\n${transfer}\n${back}:`;
};

/** Through the gate and back, in most rounds. */
export const gateCall: LineKind = (r, context) => {
  const skip = context.fresh();
  const body = ["syscall", ...(r.chance(40) ? [`add rax, [rbx+${place(r)}]`] : [])];
  return r.chance(50) ? body.join("\n") : [RARELY(r), `jnz ${skip}`, ...body, `${skip}:`].join("\n");
};

/** Changes of the address space and of page tables. */
export const hostCall: LineKind = (r, context) => {
  const skip = context.fresh();
  const { end: _end, ...calls } = HOST_CALL;
  const touch = `mov ${reg(r)}, [rbx+${PLACES.moving - PLACES.data + r.below(4000)}]\nmov [rbx+${PLACES.moving - PLACES.data + r.below(4000)}], ${reg(r)}`;
  const body = [`int ${hex(r.pick(Object.values(calls)))}`, ...(r.chance(60) ? [touch] : [])];
  return [RARELY(r), `jnz ${skip}`, ...body, `${skip}:`].join("\n");
};

/** SSE, mixed with general registers and memory. */
export const vector: LineKind = (r) => {
  const source = (align: number) => (r.chance(60) ? xmm(r) : `[rbx+${place(r, align)}]`);
  switch (r.below(9)) {
    case 0:
      return `${r.pick(["paddd", "psubw", "pxor", "pand", "pandn", "pmaddwd", "punpcklbw", "pcmpgtd", "pmullw", "psadbw", "pmuludq", "movaps", "cvtdq2ps", "cvttps2dq", "pshufb", "packsswb"])} ${xmm(r)}, ${source(16)}`;
    case 1:
      return `${r.pick(["addps", "mulps", "subps", "divps", "minps", "maxps", "sqrtps", "addpd", "subpd", "mulpd", "divpd", "sqrtpd", "unpcklps", "andps"])} ${xmm(r)}, ${source(16)}`;
    case 2:
      return `${r.pick(["addsd", "subsd", "mulsd", "divsd", "sqrtsd", "minsd", "maxsd", "cvtsd2ss", "movsd", "ucomisd", "comisd"])} ${xmm(r)}, ${source(8)}`;
    case 3:
      return `${r.pick(["addss", "subss", "mulss", "divss", "sqrtss", "minss", "cvtss2sd", "movss", "ucomiss"])} ${xmm(r)}, ${source(4)}`;
    case 4:
      return `${r.pick(["cvtsi2sd", "cvtsi2ss", "movd"])} ${xmm(r)}, ${reg32(r)}`;
    case 5:
      return `${r.pick(["cvttsd2si", "cvtss2si", "movd", "pmovmskb"])} ${reg32(r)}, ${xmm(r)}`;
    case 6:
      return `${r.pick(["pshufd", "shufps"])} ${xmm(r)}, ${xmm(r)}, ${r.below(256)}`;
    case 7:
      return r.chance(50) ? `movaps [rbx+${place(r, 16)}], ${xmm(r)}` : `movups [rbx+${place(r)}], ${xmm(r)}`;
    default:
      return r.chance(80)
        ? `${r.pick(["psrld", "pslldq", "psraw", "psllq"])} ${xmm(r)}, ${r.below(34)}`
        : `mov dword ptr [rbx+64], ${r.pick([0x1f80, 0x1f80, 0x3f80, 0x9fc0, 0x5f80])}\nldmxcsr [rbx+64]`;
  }
};

/** x87, depth balanced, mixed with MMX that ends in EMMS. */
export const x87: LineKind = (r) => {
  const load = () =>
    r.pick([
      `fld qword ptr [rbx+${place(r)}]`,
      `fild dword ptr [rbx+${place(r)}]`,
      `fld tbyte ptr [rbx+${place(r)}]`,
      "fld1",
      "fldpi",
      "fldz",
    ]);
  const store = r.pick([
    `fstp qword ptr [rbx+${place(r)}]`,
    `fistp dword ptr [rbx+${place(r)}]`,
    `fstp tbyte ptr [rbx+${place(r)}]`,
    `fisttp qword ptr [rbx+${place(r)}]`,
    "fstp st(0)",
  ]);
  switch (r.below(6)) {
    case 0:
      return `${load()}\n${load()}\n${r.pick(["faddp", "fmulp", "fsubp", "fsubrp", "fdivp"])} st(1), st(0)\n${store}`;
    case 1:
      return `${load()}\n${r.pick(["fsqrt", "fabs", "fchs", "frndint", "f2xm1", "fsin", "fxam"])}\n${store}`;
    case 2:
      return `${load()}\n${load()}\nfucomip st(0), st(1)\nfstp st(0)`;
    case 3:
      return `${load()}\nfnstsw ax\n${store}`;
    case 4:
      return `paddd mm${r.below(8)}, mm${r.below(8)}\nmovq [rbx+${place(r)}], mm${r.below(8)}\nmovd mm${r.below(8)}, ${reg32(r)}\nemms`;
    default:
      return r.pick([
        load(),
        store,
        "fninit",
        "fxch st(1)",
        "fincstp",
        `fnstcw [rbx+${place(r)}]`,
        "fnclex",
        `fxsave [rbx+${place(r, 16) & 0xfff}]\n`,
      ]);
  }
};

/** Instructions that the engine executes in JavaScript, segments and single steps. */
export const system: LineKind = (r, context) => {
  const skip = context.fresh();
  const line = r.pick([
    "cpuid",
    "rdtsc",
    "rdrand rax",
    "xgetbv",
    `mov eax, ${SELECTOR.data}\nmov ds, eax`,
    `mov eax, ${r.pick([0, 0x2b, 0x3b, 0x33, 0x53])}\nmov ${r.pick(["fs", "gs", "es", "ds"])}, eax`,
    `mov eax, ${hex(PLACES.data + r.below(4000))}\n${r.pick(["wrfsbase", "wrgsbase"])} rax\nxor ecx, ecx`,
    `mov eax, ${hex(PLACES.data)}\nwrfsbase rax\nmov rdx, fs:[${r.below(3000)}]\nadd fs:[${r.below(3000)}], edx`,
    `mov eax, 0x2b\nlar ecx, eax`,
    "mov eax, 0x20\nverw ax",
    `std\ncld`,
    "nop\npause\nendbr64",
    `int ${r.pick([3, 0x10, 0x70])}`,
    "int1",
    "sysenter",
    `mov ecx, 0\nrdpmc`,
    "stmxcsr [rbx+128]",
    "cmpxchg16b [rbx+256]",
    "mov ax, ds\npush fs\npop gs",
  ]);
  return r.chance(30) ? line : [RARELY(r), `jnz ${skip}`, line, `${skip}:`].join("\n");
};

/** A few instructions under the trap flag, or with alignment checked. */
export const singleStep: LineKind = (r, context) => {
  const skip = context.fresh();
  const flag = r.pick([0x100, 0x40000]);
  return [
    RARELY(r),
    `jnz ${skip}`,
    `pushfq\nor dword ptr [rsp], ${flag}\npopfq`,
    integer(r, context),
    stack(r, context),
    r.pick([integer, vector, strings])(r, context),
    `pushfq\nand dword ptr [rsp], ${-1 - flag}\npopfq`,
    `${skip}:`,
  ].join("\n");
};

const scratch = new Instruction();
const KEPT = new Set(["rsp", "rbx"]);

/**
 * Any instruction of the opcode table, by its bytes: a random opcode with a register or [rbx+disp32] as operand.
 * Branches are left out, and what would take RBX, RSP or the loop counters away.
 */
export const raw: LineKind = (r) => {
  for (;;) {
    const bytes: number[] = [];
    if (r.chance(15)) bytes.push(0x66);
    if (r.chance(15)) bytes.push(r.pick([0xf2, 0xf3, 0xf0, 0x64, 0x65, 0x67]));
    if (r.chance(50)) bytes.push(0x40 | r.below(2) | (r.chance(40) ? 8 : 0) | (r.chance(40) ? 4 : 0));
    const map = r.below(10);
    if (map >= 4) bytes.push(0x0f);
    if (map >= 8) bytes.push(map === 8 ? 0x38 : 0x3a);
    bytes.push(r.below(256));
    const inMemory = r.chance(50);
    bytes.push(inMemory ? 0x83 | (r.below(8) << 3) : 0xc0 | r.below(64));
    if (inMemory) {
      const at = place(r, r.chance(60) ? 16 : 1);
      bytes.push(at & 255, at >> 8, 0, 0);
    }
    for (let i = 0; i < 8; i++) bytes.push(r.below(256));
    const length = decode(Uint8Array.from(bytes), 0, bytes.length, 64, scratch);
    if (length === 0) continue;
    const row = OPCODES[scratch.row]!;
    if (row.flow !== "next" || row.privileged || disturbs(scratch)) continue;
    return `.byte ${bytes.slice(0, length).map(hex).join(", ")} # ${row.name}`;
  }
};

/** Whether an instruction may change RBX, RSP or a loop counter, or reach memory elsewhere than near RBX. */
function disturbs(instruction: Instruction): boolean {
  const row = OPCODES[instruction.row]!;
  if (row.implicitWrites.some((name) => KEPT.has(name))) return true;
  for (let i = 0; i < instruction.operandCount; i++) {
    const kind = instruction.kinds[i];
    if (kind === OPERAND.MEMORY && instruction.base !== 3) return true;
    if (kind === OPERAND.STRING_SOURCE || kind === OPERAND.STRING_DESTINATION) return true;
    if (kind !== OPERAND.REGISTER) continue;
    const number = instruction.registers[i]!;
    if (number === 3 || number === 4 || number >= 14) return true;
  }
  return false;
}
