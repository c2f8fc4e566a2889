// Decodes a function and tells what each instruction reads and writes. Run: node examples/decode-function.mjs
import { assemble, decode, disassemble, Instruction, instructionInfo } from "@paravirt/x86";

// Any machine code will do: here, a sum of numbers, assembled first.
const { bytes } = assemble(`
    xor eax, eax
  again:
    add rax, [rdi]
    add rdi, 8
    dec esi
    jnz again
    ret
`);

const instruction = new Instruction();
let at = 0;
for (const line of disassemble(bytes, { address: 0x401000n })) {
  at += decode(bytes, at, bytes.length, 64, instruction);
  const info = instructionInfo(instruction);
  console.log(
    `${line.address.toString(16)}  ${line.text.padEnd(30)} reads ${info?.reads.join() || "-"}; writes ${info?.writes.join() || "-"}`,
  );
}
