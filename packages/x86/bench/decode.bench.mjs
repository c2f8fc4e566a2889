/**
 * Instructions a second on real code, ours beside iced-x86's WebAssembly: `npm run bench [-- --json FILE] [--code FILE]`.
 * Every line is the best of several passes over the same bytes, after a warm-up that is not counted.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const loadStart = performance.now();
const { decode, Instruction } = await import("../dist/index.js");
const loadMilliseconds = performance.now() - loadStart;
const { Decoder, DecoderOptions, Instruction: IcedInstruction } = createRequire(import.meta.url)("iced-x86");

function option(name) {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
}

/** The executable bytes of a 64-bit ELF file: its `.text` section. */
function textOf(path) {
  const file = readFileSync(path);
  const header = (index) => Number(file.readBigUInt64LE(0x28)) + index * file.readUInt16LE(0x3a);
  const names = Number(file.readBigUInt64LE(header(file.readUInt16LE(0x3e)) + 0x18));
  for (let index = 0; index < file.readUInt16LE(0x3c); index++) {
    const at = names + file.readUInt32LE(header(index));
    if (file.toString("latin1", at, at + 6) !== ".text\0") continue;
    const offset = Number(file.readBigUInt64LE(header(index) + 0x18));
    return new Uint8Array(file.subarray(offset, offset + Number(file.readBigUInt64LE(header(index) + 0x20))));
  }
  throw new Error(`${path} has no .text section`);
}

const path = option("--code") ?? "/lib/x86_64-linux-gnu/libc.so.6";
// Four million bytes are enough to leave the caches.
const code = textOf(path).subarray(0, 4_000_000);
let sink = 0;

function ours() {
  const instruction = new Instruction();
  let count = 0;
  for (let offset = 0; offset < code.length; count++) offset += decode(code, offset, code.length, 64, instruction) || 1;
  return count;
}

function oursReadingOperands() {
  const instruction = new Instruction();
  const { kinds, classes, registers, sizes } = instruction;
  let count = 0;
  for (let offset = 0; offset < code.length; count++) {
    offset += decode(code, offset, code.length, 64, instruction) || 1;
    sink += instruction.mnemonic;
    for (let slot = 0; slot < instruction.operandCount; slot++) {
      sink += kinds[slot] + classes[slot] + registers[slot] + sizes[slot];
      if (kinds[slot] === 2)
        sink += instruction.base + instruction.index + instruction.scale + instruction.displacement;
      else if (kinds[slot] === 3 || kinds[slot] === 5) sink += instruction.immediate;
    }
    sink |= 0;
  }
  return count;
}

function icedLengthAndCode() {
  const decoder = new Decoder(64, code, DecoderOptions.None);
  const instruction = new IcedInstruction();
  let count = 0;
  for (; decoder.canDecode; count++) {
    decoder.decodeOut(instruction);
    sink = (sink + instruction.length + instruction.code) | 0;
  }
  decoder.free();
  instruction.free();
  return count;
}

function icedReadingOperands() {
  const decoder = new Decoder(64, code, DecoderOptions.None);
  const instruction = new IcedInstruction();
  let count = 0;
  for (; decoder.canDecode; count++) {
    decoder.decodeOut(instruction);
    sink += instruction.length + instruction.code;
    const operands = instruction.opCount;
    for (let slot = 0; slot < operands; slot++) {
      const kind = instruction.opKind(slot);
      sink += kind;
      if (kind === 0) sink += instruction.opRegister(slot);
      else if (kind === 24)
        sink +=
          instruction.memoryBase +
          instruction.memoryIndex +
          instruction.memoryIndexScale +
          Number(BigInt.asIntN(32, instruction.memoryDisplacement));
      else if (kind >= 6 && kind <= 14) sink += Number(BigInt.asIntN(32, instruction.immediate(slot)));
      else sink += Number(BigInt.asIntN(32, instruction.nearBranchTarget));
    }
    sink |= 0;
  }
  decoder.free();
  instruction.free();
  return count;
}

/** Million instructions a second, best of `rounds` after two passes that warm up. */
function measure(run, rounds) {
  run();
  run();
  let best = 0;
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    const count = run();
    best = Math.max(best, count / (performance.now() - start) / 1000);
  }
  return best;
}

const results = {
  ours: measure(ours, 8),
  oursReadingOperands: measure(oursReadingOperands, 8),
  icedLengthAndCode: measure(icedLengthAndCode, 5),
  icedReadingOperands: measure(icedReadingOperands, 3),
};
const line = (label, value) => console.log(`${label.padEnd(46)}${value.toFixed(1).padStart(7)} million/s`);
console.log(`${path}, ${code.length} bytes, Node ${process.versions.node}`);
line("@paravirt/x86 decode, all operands readable", results.ours);
line("@paravirt/x86 decode, all operands read", results.oursReadingOperands);
line("iced-x86 (wasm), length and code", results.icedLengthAndCode);
line("iced-x86 (wasm), all operands read", results.icedReadingOperands);
console.log(`loading @paravirt/x86: ${loadMilliseconds.toFixed(1)} ms`);
const json = option("--json");
if (json)
  writeFileSync(
    json,
    `${JSON.stringify({ code: path, bytes: code.length, node: process.versions.node, millionPerSecond: results, loadMilliseconds }, undefined, 2)}\n`,
  );
if (sink === 0.5) console.log(sink);
