import { createReadStream, fstatSync } from "node:fs";
import { isParavirtError } from "@paravirt/core";
import { createStepBench, type StepBench } from "@paravirt/cpu";
import type { ParsedArguments } from "../options.ts";
import { decodeStepCase, encodeStepOutcome } from "../step-case.ts";
import { UsageError } from "../usage-error.ts";
import { writeOut } from "../write-out.ts";

const LINE_FEED = 10;
const CHUNK = 1 << 20;

/** `paravirt step`: one case a line from standard input, one answer a line, as soon as the case is there. */
export async function step({ options }: ParsedArguments): Promise<number> {
  const tier = options.get("tier") ?? "0";
  if (tier !== "0" && tier !== "1") throw new UsageError(`--tier ${tier}: 0 or 1`);
  const answer = createAnswerer(tier === "0" ? 0 : 1);
  // Pieces of a line that is longer than a chunk.
  let pending: Buffer[] = [];
  // A file comes in large chunks, a pipe as its writer writes.
  const input = fstatSync(0).isFile() ? createReadStream("", { fd: 0, highWaterMark: CHUNK }) : process.stdin;
  for await (const chunk of input) {
    const bytes = chunk as Buffer;
    let answers = "";
    let from = 0;
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, from)) {
      answers += answer(lineOf(pending, bytes.subarray(from, end)));
      pending = [];
      from = end + 1;
    }
    pending.push(bytes.subarray(from));
    await writeOut(answers);
  }
  await writeOut(answer(lineOf(pending, Buffer.alloc(0))));
  return 0;
}

function lineOf(pending: readonly Buffer[], last: Buffer): string {
  return (pending.length === 0 ? last : Buffer.concat([...pending, last])).toString("utf8");
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
