import { ParavirtError } from "@paravirt/core";
import { resetCase, type StepCase, type StepOutcome, type StepPage } from "@paravirt/cpu";

const REGISTERS = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");
const PAGE = 4096;
/** Pages that one line may map. */
const MAX_PAGES = 1000;
const MAX_CODE = 15;
const MXCSR_BITS = 0xffffn;
/** RFLAGS without VM and the bits that are always 0 or 1. */
const RFLAGS_BITS = 0x3d7fd7n;

/** Reads one line of `paravirt step`; its pages' data hold until the next line is read. Throws `ParavirtError` naming the field, its value and what it may be. */
export function decodeStepCase(line: string): StepCase {
  const fields = object(parse(line), "the line", FIELDS);
  const test = resetCase();
  test.mode = mode(fields.mode ?? 64);
  test.code = bytes(fields.code ?? "", "code");
  if (test.code.length < 1 || test.code.length > MAX_CODE)
    throw bad("code", fields.code, `1 to ${MAX_CODE} bytes in hex`);
  if (fields.at !== undefined) test.at = address(fields.at, "at", test.mode);
  for (const [name, value] of entries(fields.regs, "regs", REGISTERS))
    test.regs[REGISTERS.indexOf(name)] = number(value, `regs.${name}`, 64);
  if (fields.rflags !== undefined) {
    test.rflags = number(fields.rflags, "rflags", 64) | 2n;
    if ((test.rflags & ~RFLAGS_BITS) !== 0n)
      throw bad("rflags", fields.rflags, `no bits but 0x${RFLAGS_BITS.toString(16)}`);
  }
  test.xmm.set(registers(fields.xmm, "xmm", 16, 16));
  if (fields.ymmh !== undefined) {
    test.ymmh = new Uint8Array(256);
    test.ymmh.set(registers(fields.ymmh, "ymmh", 16, 16));
  }
  if (fields.mxcsr !== undefined) {
    const mxcsr = number(fields.mxcsr, "mxcsr", 32);
    if ((mxcsr & ~MXCSR_BITS) !== 0n) throw bad("mxcsr", fields.mxcsr, `no bits but 0x${MXCSR_BITS.toString(16)}`);
    test.mxcsr = Number(mxcsr);
  }
  const fpu = object(fields.fpu ?? {}, "fpu", ["cw", "sw", "tw", "st"]);
  if (fpu.cw !== undefined) test.fpu.cw = Number(number(fpu.cw, "fpu.cw", 16));
  if (fpu.sw !== undefined) test.fpu.sw = Number(number(fpu.sw, "fpu.sw", 16));
  if (fpu.tw !== undefined) test.fpu.tw = Number(number(fpu.tw, "fpu.tw", 8));
  test.fpu.st.set(registers(fpu.st, "fpu.st", 8, 10));
  const segments = object(fields.segments ?? {}, "segments", ["fsbase", "gsbase"]);
  if (segments.fsbase !== undefined) test.fsBase = address(segments.fsbase, "segments.fsbase", test.mode);
  if (segments.gsbase !== undefined) test.gsBase = address(segments.gsbase, "segments.gsbase", test.mode);
  test.pages = pages(fields.pages, test.mode);
  return test;
}

/** Writes the answer to one line. */
export function encodeStepOutcome(outcome: StepOutcome): string {
  const { exception, regs, fpu, changes } = outcome;
  const fault =
    exception === undefined
      ? "null"
      : `{"vector":${exception.vector},"error":"${hex(exception.error)}","cr2":"${hex(exception.cr2)}"}`;
  const general = REGISTERS.map((name, index) => `"${name}":"${hex(regs[index]!)}"`).join(",");
  const changed = changes.map(({ at, bytes }) => `["${hex(at)}","${text(bytes)}"]`).join(",");
  const upper = outcome.ymmh === undefined ? "" : `"ymmh":[${slices(outcome.ymmh, 16)}],`;
  return (
    `{"rip":"${hex(outcome.rip)}","exception":${fault},"regs":{${general}},"rflags":"${hex(outcome.rflags)}",` +
    `"xmm":[${slices(outcome.xmm, 16)}],${upper}"mxcsr":"${hex(outcome.mxcsr)}",` +
    `"fpu":{"cw":"${hex(fpu.cw)}","sw":"${hex(fpu.sw)}","tw":"${hex(fpu.tw)}","st":[${slices(fpu.st, 10)}]},` +
    `"pages":[${changed}]}`
  );
}

const NUMBER = /^(0x[0-9a-fA-F]{1,64}|[0-9]{1,20})$/;
const FIELDS = ["code", "at", "mode", "regs", "rflags", "xmm", "ymmh", "mxcsr", "fpu", "segments", "pages"];

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new ParavirtError("BAD_ARGUMENT", `the line is not JSON: ${(error as Error).message}`);
  }
}

function bad(field: string, value: unknown, allowed: string): ParavirtError {
  const shown = JSON.stringify(value) ?? "nothing";
  return new ParavirtError(
    "BAD_ARGUMENT",
    `${field} ${shown.length > 60 ? `${shown.slice(0, 57)}...` : shown}: ${allowed}`,
  );
}

function object(value: unknown, field: string, names: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw bad(field, value, `an object with ${names.join(", ")}`);
  for (const name of Object.keys(value))
    if (!names.includes(name))
      throw bad(`${field} has "${name}"`, (value as Record<string, unknown>)[name], `one of ${names.join(", ")}`);
  return value as Record<string, unknown>;
}

function entries(value: unknown, field: string, names: readonly string[]): [string, unknown][] {
  return value === undefined ? [] : Object.entries(object(value, field, names));
}

function number(value: unknown, field: string, bits: number): bigint {
  const limit = () => `0 to 0x${((1n << BigInt(bits)) - 1n).toString(16)}, as "0x…"`;
  const isNumber = typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
  if (!isNumber && !(typeof value === "string" && NUMBER.test(value))) throw bad(field, value, limit());
  const given = BigInt(value as string | number);
  if (BigInt.asUintN(bits, given) !== given) throw bad(field, value, limit());
  return given;
}

function address(value: unknown, field: string, mode: 64 | 32): bigint {
  const given = number(value, field, 64);
  if (mode === 32 ? given >> 32n !== 0n : BigInt.asUintN(64, BigInt.asIntN(48, given)) !== given)
    throw bad(field, value, mode === 32 ? "below 0x100000000 in mode 32" : "canonical: bits 47 to 63 are equal");
  return given;
}

function mode(value: unknown): 64 | 32 {
  if (value === 64 || value === 32) return value;
  throw bad("mode", value, "64 or 32");
}

function bytes(value: unknown, field: string): Uint8Array {
  if (typeof value === "string" && value.length % 2 === 0) {
    const given = Buffer.from(value, "hex");
    if (given.length * 2 === value.length) return given;
  }
  throw bad(field, value, "an even number of hex digits");
}

/** The pages of the line before, by their place in it: fuzzers give the same ones again and again. */
const before: { text: string; readonly buffer: Buffer }[] = [];

/** As {@link bytes}, without allocating for a page or less: most of a line is pages. */
function pageBytes(value: unknown, field: string, index: number): Uint8Array {
  if (typeof value !== "string" || value.length > PAGE * 2 || value.length % 2 !== 0) return bytes(value, field);
  before[index] ??= { text: "", buffer: Buffer.alloc(PAGE) };
  const page = before[index];
  const length = value.length / 2;
  if (page.text !== value) {
    page.text = "";
    if (page.buffer.write(value, "hex") !== length) throw bad(field, value, "an even number of hex digits");
    page.text = value;
  }
  return page.buffer.subarray(0, length);
}

/** A list of registers of `size` bytes each; those that the list doesn't reach are zero. */
function registers(value: unknown, field: string, count: number, size: number): Uint8Array {
  if (value === undefined) return new Uint8Array(0);
  if (!Array.isArray(value) || value.length > count) throw bad(field, value, `a list of up to ${count} registers`);
  const all = new Uint8Array(value.length * size);
  value.forEach((item: unknown, index) => {
    const given = bytes(item, `${field}[${index}]`);
    if (given.length !== size) throw bad(`${field}[${index}]`, item, `${size * 2} hex digits`);
    all.set(given, index * size);
  });
  return all;
}

function pages(value: unknown, mode: 64 | 32): StepPage[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw bad("pages", value, 'a list of {"at","data","writable"}');
  const all = new Map<bigint, StepPage>();
  value.forEach((item: unknown, index) => {
    const field = `pages[${index}]`;
    const given = object(item, field, ["at", "data", "writable"]);
    const start = address(given.at, `${field}.at`, mode);
    const data = pageBytes(given.data ?? "", `${field}.data`, index);
    const writable = given.writable ?? false;
    if (typeof writable !== "boolean") throw bad(`${field}.writable`, writable, "true or false");
    const lead = Number(start % BigInt(PAGE));
    for (let from = -lead; from < Math.max(1, data.length); from += PAGE) {
      const at = address(`0x${(start + BigInt(from)).toString(16)}`, `${field}.data`, mode);
      if (all.has(at)) throw bad(`${field}.at`, given.at, `the page at ${hex(at)} was given before`);
      if (all.size === MAX_PAGES) throw bad(`${field}.at`, given.at, `at most ${MAX_PAGES} pages`);
      const part = new Uint8Array(Math.min(PAGE, data.length - from));
      part.set(data.subarray(Math.max(0, from), from + PAGE), Math.max(0, -from));
      all.set(at, { at, data: from >= 0 && lead === 0 ? data.subarray(from, from + PAGE) : part, writable });
    }
  });
  return [...all.values()];
}

function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}

function text(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("hex");
}

function slices(data: Uint8Array, size: number): string {
  const all = text(data);
  const parts: string[] = [];
  for (let at = 0; at < all.length; at += size * 2) parts.push(`"${all.slice(at, at + size * 2)}"`);
  return parts.join(",");
}
