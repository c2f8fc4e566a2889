import { Instruction } from "@paravirt/x86";

/** Makes what this engine decodes into: by AMD's rules, since CPUID says that it is one of theirs. */
export function engineInstruction(): Instruction {
  return new Instruction({ amd: true });
}
