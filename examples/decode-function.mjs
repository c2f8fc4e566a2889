// Decodes a function and shows, for each instruction, its text and what it reads and writes.
import { decode, formatIntel, Instruction, instructionInfo, joinText } from "@paravirt/x86";

// What gcc makes of: long sum(const long *numbers, int count) { long s = 0; while (count--) s += *numbers++; return s; }
const code = Uint8Array.from([
  0x31, 0xc0, 0x85, 0xf6, 0x74, 0x0b, 0x48, 0x03, 0x07, 0x48, 0x83, 0xc7, 0x08, 0xff, 0xce, 0x75, 0xf5, 0xc3,
]);
const ADDRESS = 0x401000n;

// One record serves for all instructions: decoding allocates nothing.
const instruction = new Instruction();
for (let at = 0; at < code.length; ) {
  const length = decode(code, at, code.length, 64, instruction);
  if (length === 0) throw new Error(`no instruction at ${at}`);
  const address = ADDRESS + BigInt(at);
  const text = joinText(formatIntel(instruction, address));
  const { reads, writes } = instructionInfo(instruction);
  const effect = [reads.length && `reads ${reads.join(" ")}`, writes.length && `writes ${writes.join(" ")}`];
  console.log(`${address.toString(16)}  ${text.padEnd(28)} ${effect.filter(Boolean).join(", ")}`.trimEnd());
  at += length;
}
