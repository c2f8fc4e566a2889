import { STATE } from "../src/layout.ts";
import { EXIT } from "../src/vcpu.ts";
import { LAYOUT, Random } from "./cases.ts";
import type { ConformanceMachine } from "./machine.ts";

/** Where the memory operand is; RBX points there. */
export const X87_OPERAND: number = LAYOUT.data + 0x100;
export const X87_OPERAND_BYTES = 64;
const RAX = 0x1234n;

/** A register's significand, and sign with exponent. */
export type Register = readonly [significand: bigint, signExponent: number];

/** State before one x87 instruction. */
export interface X87Case {
  readonly name: string;
  readonly code: Uint8Array;
  readonly controlWord: number;
  readonly statusWord: number;
  /** 1 for each physical register that isn't empty. */
  readonly tags: number;
  /** ST(0) to ST(7). */
  readonly registers: readonly Register[];
  readonly memory: Uint8Array;
  readonly flags: bigint;
}

/** State after it. */
export interface X87Outcome {
  /** Vector of the fault, -1 when there was none. */
  readonly vector: number;
  readonly controlWord: number;
  readonly statusWord: number;
  readonly tags: number;
  readonly registers: readonly Register[];
  readonly memory: Uint8Array;
  readonly flags: bigint;
  readonly rax: bigint;
}

interface Form {
  readonly name: string;
  readonly code: readonly number[];
  /** What the memory operand holds. */
  readonly memory:
    | "none"
    | "single"
    | "double"
    | "extended"
    | "integer"
    | "decimal"
    | "control"
    | "environment"
    | "state";
}

/** ModRM bytes: [RBX] and register `rm`, with `reg` in the middle. */
const atRbx = (reg: number): number => (reg << 3) | 3;
const register = (reg: number, rm: number): number => 0xc0 | (reg << 3) | rm;

function makeForms(): Form[] {
  const forms: Form[] = [];
  const add = (name: string, code: number[], memory: Form["memory"] = "none") => forms.push({ name, code, memory });
  ["fadd", "fmul", "fcom", "fcomp", "fsub", "fsubr", "fdiv", "fdivr"].forEach((name, reg) => {
    add(name, [0xd8, atRbx(reg)], "single");
    add(name, [0xdc, atRbx(reg)], "double");
    add(name, [0xda, atRbx(reg)], "integer");
    add(name, [0xde, atRbx(reg)], "integer");
    for (const rm of [0, 1, 3, 7]) {
      add(name, [0xd8, register(reg, rm)]);
      if (reg === 2 || reg === 3) continue;
      add(name, [0xdc, register(reg, rm)]);
      add(name, [0xde, register(reg, rm)]);
    }
  });
  const loads: [number, number, Form["memory"]][] = [
    [0xd9, 0, "single"],
    [0xdd, 0, "double"],
    [0xdb, 5, "extended"],
    [0xdf, 0, "integer"],
    [0xdb, 0, "integer"],
    [0xdf, 5, "integer"],
    [0xdf, 4, "decimal"],
  ];
  for (const [opcode, reg, memory] of loads) for (let i = 0; i < 3; i++) add("load", [opcode, atRbx(reg)], memory);
  const stores = [
    0xd912, 0xdd12, 0xd91a, 0xdd1a, 0xdb3a, 0xdf12, 0xdb12, 0xdf1a, 0xdb1a, 0xdf3a, 0xdf0a, 0xdb0a, 0xdd0a, 0xdf32,
  ];
  for (const store of stores) for (let i = 0; i < 3; i++) add("store", [store >> 8, (store & 0xff) | 3], "extended");
  for (const rm of [0, 1, 2, 7]) {
    for (const [opcode, reg] of [
      [0xd9, 0],
      [0xd9, 1],
      [0xdd, 0],
      [0xdd, 2],
      [0xdd, 3],
      [0xdd, 4],
      [0xdd, 5],
      [0xdf, 0],
    ] as const)
      add("register", [opcode, register(reg, rm)]);
    for (const [opcode, reg] of [
      [0xdb, 5],
      [0xdb, 6],
      [0xdf, 5],
      [0xdf, 6],
    ] as const)
      add("comi", [opcode, register(reg, rm)]);
    for (let reg = 0; reg < 4; reg++) add("fcmov", [rm & 1 ? 0xda : 0xdb, register(reg, rm)]);
  }
  // FCHS FABS FTST FXAM, constants, FXTRACT FPREM1 FDECSTP FINCSTP FPREM FSQRT FRNDINT FSCALE FNOP
  for (const second of [0xe0, 0xe1, 0xe4, 0xe5, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xf4, 0xf6, 0xf7, 0xd0])
    add("function", [0xd9, second]);
  for (const second of [0xf5, 0xf8, 0xfa, 0xfc, 0xfd]) for (let i = 0; i < 6; i++) add("function", [0xd9, second]);
  add("fcompp", [0xde, 0xd9]);
  add("fucompp", [0xda, 0xe9]);
  add("fninit", [0xdb, 0xe3]);
  add("fnclex", [0xdb, 0xe2]);
  add("fnstsw", [0xdf, 0xe0]);
  add("fnstsw", [0xdd, atRbx(7)], "integer");
  add("fnstcw", [0xd9, atRbx(7)], "integer");
  add("fldcw", [0xd9, atRbx(5)], "control");
  add("fwait", [0x9b]);
  add("fnstenv", [0xd9, atRbx(6)], "integer");
  add("fldenv", [0xd9, atRbx(4)], "environment");
  return forms;
}
const FORMS = makeForms();

/** F2XM1 FYL2X FPTAN FPATAN FYL2XP1 FSINCOS FSIN FCOS, by the second byte. */
export const TRANSCENDENTALS: readonly number[] = [0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff];

const INTEGER_BIT = 1n << 63n;
const SIGNIFICANDS = [
  0n,
  1n,
  INTEGER_BIT,
  INTEGER_BIT | 1n,
  INTEGER_BIT - 1n,
  2n ** 64n - 1n,
  3n << 62n,
  5n << 61n,
  1n << 62n,
  INTEGER_BIT | (1n << 10n),
  INTEGER_BIT | (1n << 11n),
  INTEGER_BIT | (3n << 10n),
  INTEGER_BIT | (1n << 39n),
  2n ** 64n - (1n << 10n),
  2n ** 64n - (1n << 11n),
  2n ** 64n - (1n << 39n),
  2n ** 64n - (1n << 40n),
];
const BIAS = 16383;
const EXPONENTS = [
  0,
  1,
  2,
  0x7fff,
  0x7ffe,
  0x7ffd,
  ...[-1074, -1023, -1022, -149, -127, -126, -1, 0, 1, 14, 15, 30, 31, 62, 63, 64, 127, 128, 1023, 1024].map(
    (power) => BIAS + power,
  ),
];
const NANS = [3n << 62n, (3n << 62n) | 1n, 5n << 61n, INTEGER_BIT | 1n, 2n ** 64n - 1n];
const SINGLES = [0, 1, 0x7fffff, 0x800000, 0x7f7fffff, 0x7f800000, 0x7fc00000, 0x7f800001, 0x3f800000];
const DOUBLES = [
  0n,
  1n,
  2n ** 52n - 1n,
  2n ** 52n,
  0x7fefffffffffffffn,
  0x7ffn << 52n,
  0x7ff8n << 48n,
  (0x7ffn << 52n) | 1n,
  0x3ffn << 52n,
];
const INTEGERS = [0n, 1n, -1n, 32767n, -32768n, 2n ** 31n - 1n, -(2n ** 31n), 2n ** 63n - 1n, -(2n ** 63n)];

function pick<T>(random: Random, list: readonly T[]): T {
  return list[random.below(list.length)]!;
}

function makeRegister(random: Random): Register {
  const sign = random.below(2) << 15;
  const normal = () => random.next() | INTEGER_BIT;
  switch (random.below(8)) {
    case 0:
      return [0n, sign];
    case 1:
      return [random.below(2) ? INTEGER_BIT : pick(random, NANS), 0x7fff | sign];
    case 2:
      // Denormals, pseudo-denormals, unnormals, pseudo-infinities.
      return [random.next() >> BigInt(random.below(64)), pick(random, [0, 0, 0, 1, 0x3fff, 0x7fff]) | sign];
    case 3:
    case 4:
      return [pick(random, SIGNIFICANDS), pick(random, EXPONENTS) | sign];
    case 5:
      return [normal(), random.below(0x7ffe) + 1 + sign];
    default:
      return [
        random.below(3) ? normal() : pick(random, SIGNIFICANDS) | INTEGER_BIT,
        BIAS - 3 + random.below(random.below(2) ? 6 : 80) + sign,
      ];
  }
}

function makeMemory(random: Random, kind: Form["memory"]): Uint8Array {
  const bytes = Uint8Array.from({ length: X87_OPERAND_BYTES }, () => random.below(256));
  const view = new DataView(bytes.buffer);
  const sign = BigInt(random.below(2));
  switch (kind) {
    case "single":
      if (random.below(2)) view.setUint32(0, pick(random, SINGLES) + Number(sign) * 2 ** 31, true);
      break;
    case "double":
      if (random.below(2)) view.setBigUint64(0, pick(random, DOUBLES) | (sign << 63n), true);
      else view.setUint16(6, 0x3f00 + random.below(0x200) + Number(sign) * 0x8000, true);
      break;
    case "extended": {
      const [significand, signExponent] = makeRegister(random);
      view.setBigUint64(0, significand, true);
      view.setUint16(8, signExponent, true);
      break;
    }
    case "integer":
      view.setBigInt64(0, random.below(2) ? pick(random, INTEGERS) : BigInt(random.below(1000)), true);
      break;
    case "decimal":
      for (let i = 0; i < 9; i++) bytes[i] = random.below(10) * 16 + random.below(10);
      break;
    case "control":
      view.setUint16(0, random.below(65536), true);
      break;
    case "environment":
      view.setUint16(0, 0x37f ^ random.below(64), true);
      view.setUint16(4, (random.below(8) << 11) | random.below(64), true);
      break;
  }
  return bytes;
}

/** The case of `seed`. */
export function makeX87Case(seed: number): X87Case {
  const random = new Random(seed);
  const form = FORMS[seed % FORMS.length]!;
  const masks = random.below(3) ? 0x3f : random.below(64);
  const precision = random.below(2) ? 3 : random.below(4);
  const rounding = random.below(2) ? 0 : random.below(4);
  let statusWord = (random.below(8) << 11) | (random.below(4) ? 0 : random.below(64) & masks);
  if (random.below(3) === 0) statusWord |= pick(random, [0x100, 0x200, 0x400, 0x4000, 0x4700]);
  // An exception that waits: flags that aren't masked, with ES and B.
  if (random.below(40) === 0 && masks !== 0x3f) statusWord |= (~masks & 0x3f) | 0x8080;
  const registers: Register[] = Array.from({ length: 8 }, () => makeRegister(random));
  const [significand, signExponent] = registers[0]!;
  const relation = random.below(3);
  // Operands that are nearly the same, or whose exponents are close, reach the interesting cases.
  if (relation === 0)
    for (let i = 1; i < 8; i++)
      registers[i] = [significand ^ BigInt(random.below(2)), signExponent ^ (random.below(2) << 15)];
  else if (relation === 1 && (signExponent & 0x7fff) > 70 && (signExponent & 0x7fff) < 0x7f00)
    for (let i = 1; i < 8; i++)
      registers[i] = [registers[i]![0], ((signExponent & 0x7fff) - 68 + random.below(136)) | (random.below(2) << 15)];
  return {
    name: form.name,
    code: Uint8Array.from(form.code),
    controlWord: 0x40 | masks | (precision << 8) | (rounding << 10),
    statusWord,
    tags: random.below(3)
      ? (random.below(2) ? 0xff : 0x7f << (((statusWord >> 11) & 7) + 1)) & 0xff
      : random.below(256),
    registers,
    memory: makeMemory(random, form.memory),
    flags: 0x202n | (random.next() & 0x8d5n),
  };
}

/** The case of `seed` for a transcendental function: operands mostly where it is defined, all exceptions masked. */
export function makeTranscendentalCase(seed: number): X87Case {
  const random = new Random(seed);
  const second = TRANSCENDENTALS[seed % TRANSCENDENTALS.length]!;
  const value = (low: number, high: number): Register => [
    random.next() | INTEGER_BIT,
    (BIAS + low + random.below(high - low)) | (random.below(2) << 15),
  ];
  const registers: Register[] = Array.from({ length: 8 }, () => makeRegister(random));
  registers[1] = value(-5, 5);
  if (second === 0xf0) registers[0] = value(-60, 0);
  else if (second === 0xf9) registers[0] = value(-60, -2);
  else if (second === 0xf1) registers[0] = [random.next() | INTEGER_BIT, BIAS - 2 + random.below(4)];
  else registers[0] = value(-30, random.below(2) ? 3 : 64);
  return {
    name: second.toString(16),
    code: Uint8Array.of(0xd9, second),
    controlWord: 0x37f,
    statusWord: 0,
    tags: 3,
    registers,
    memory: new Uint8Array(X87_OPERAND_BYTES),
    flags: 0x202n,
  };
}

/** Registers before each case: RBX points to the operand. */
export function generalRegisters(): BigUint64Array {
  const registers = new BigUint64Array(16);
  registers[0] = RAX;
  registers[3] = BigInt(X87_OPERAND);
  registers[4] = BigInt(LAYOUT.stack + 0x800);
  return registers;
}

/** Executes the case on the engine. */
export function runX87(machine: ConformanceMachine, test: X87Case): X87Outcome {
  const { vcpu } = machine;
  const { view, words, quads } = machine.engine.memory;
  const code = new Uint8Array(16).fill(0xcc);
  code.set(test.code);
  vcpu.write(BigInt(LAYOUT.entry), code);
  vcpu.write(BigInt(X87_OPERAND), test.memory);
  vcpu.regs.set(generalRegisters());
  vcpu.rflags = test.flags;
  vcpu.rip = BigInt(LAYOUT.entry);
  words[STATE.fcw / 4] = test.controlWord;
  words[STATE.fsw / 4] = test.statusWord;
  words[STATE.ftw / 4] = test.tags;
  words[STATE.fop / 4] = 0;
  quads[STATE.fip / 8] = 0n;
  quads[STATE.fdp / 8] = 0n;
  const address = (index: number) => STATE.st + (((words[STATE.fsw / 4]! >> 11) + index) & 7) * 16;
  test.registers.forEach(([significand, signExponent], index) => {
    view.setBigUint64(address(index), significand, true);
    view.setBigUint64(address(index) + 8, BigInt(signExponent), true);
  });
  const exit = vcpu.step();
  const memory = new Uint8Array(X87_OPERAND_BYTES);
  vcpu.read(BigInt(X87_OPERAND), memory);
  return {
    vector: exit.reason === EXIT.FAULT ? exit.vector : -1,
    controlWord: words[STATE.fcw / 4]!,
    statusWord: words[STATE.fsw / 4]!,
    tags: words[STATE.ftw / 4]!,
    registers: Array.from(
      { length: 8 },
      (_value, index): Register => [view.getBigUint64(address(index), true), view.getUint16(address(index) + 8, true)],
    ),
    memory,
    flags: vcpu.rflags & 0x8d5n,
    rax: vcpu.regs[0]!,
  };
}

/** A hash of everything in an outcome (FNV-1a). */
export function digestX87(outcome: X87Outcome): number {
  let hash = 0x811c9dc5;
  const mix = (value: bigint, bytes: number) => {
    for (let i = 0; i < bytes; i++) hash = Math.imul(hash ^ Number((value >> BigInt(i * 8)) & 0xffn), 0x01000193);
  };
  mix(BigInt(outcome.vector & 0xff), 1);
  for (const word of [outcome.controlWord, outcome.statusWord, outcome.tags]) mix(BigInt(word), 2);
  for (const [significand, signExponent] of outcome.registers) {
    mix(significand, 8);
    mix(BigInt(signExponent), 2);
  }
  for (const byte of outcome.memory) mix(BigInt(byte), 1);
  mix(outcome.flags, 2);
  mix(outcome.rax, 8);
  return hash >>> 0;
}
