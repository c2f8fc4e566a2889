import { StringDecoder } from "node:string_decoder";
import { isParavirtError } from "@paravirt/core";
import { createStepBench, type StepBench } from "@paravirt/cpu";
import type { ParsedArguments } from "../options.ts";
import { decodeStepCase, encodeStepOutcome } from "../step-case.ts";
import { UsageError } from "../usage-error.ts";
import { writeOut } from "../write-out.ts";

/** `paravirt step`: one case a line from standard input, one answer a line, as soon as the case is there. */
export async function step({ options }: ParsedArguments): Promise<number> {
  const tier = options.get("tier") ?? "0";
  if (tier !== "0" && tier !== "1") throw new UsageError(`--tier ${tier}: 0 or 1`);
  const answer = createAnswerer(tier === "0" ? 0 : 1);
  const input = new StringDecoder("utf8");
  // Pieces of a line that is longer than a chunk are joined once.
  let pending: string[] = [];
  for await (const chunk of process.stdin) {
    const parts = input.write(chunk as Buffer).split("\n");
    if (parts.length > 1) {
      parts[0] = pending.join("") + parts[0]!;
      pending = [];
    }
    pending.push(parts.pop()!);
    await writeOut(parts.map(answer).join(""));
  }
  await writeOut(answer(pending.join("") + input.end()));
  return 0;
}

/** Makes the function from a line to its answer, line end included; empty lines have none. */
export function createAnswerer(tier: 0 | 1): (line: string) => string {
  let bench: StepBench | undefined;
  return (line) => {
    if (line.trim() === "") return "";
    bench ??= createStepBench();
    try {
      return `${encodeStepOutcome(bench.run(decodeStepCase(line), tier))}\n`;
    } catch (error) {
      if (!isParavirtError(error) || error.code === "BUG") throw error;
      return `${JSON.stringify({ error: error.message })}\n`;
    }
  };
}
