import { StringDecoder } from "node:string_decoder";
import { decode, disassemble, formatIntel, Instruction, type Mode } from "@paravirt/x86";
import type { ParsedArguments } from "../options.ts";
import { readInput } from "../read-input.ts";
import { UsageError } from "../usage-error.ts";
import { writeOut } from "../write-out.ts";

const MAX_HEX_BYTES = 15;

/** `paravirt disasm`. */
export async function disasm({ options, operands }: ParsedArguments): Promise<number> {
  const mode = parseMode(options.get("mode") ?? "64");
  const syntax = options.get("syntax") ?? "intel";
  if (syntax !== "intel" && syntax !== "att") throw new UsageError(`--syntax ${syntax}: intel or att`);
  const address = parseAddress(options.get("at") ?? "0");
  if (options.has("hex")) {
    if (operands.length > 0) throw new UsageError("--hex reads standard input, not a file");
    await answerHex(mode, address);
    return 0;
  }
  const file = operands[0];
  if (file === undefined) throw new UsageError("disasm needs a file");
  const bytes = readInput(file);
  let block = "";
  for (const line of disassemble(bytes, { mode, address, syntax })) {
    const hex = bytes.subarray(line.offset, line.offset + line.length).toString("hex");
    block += `${line.address.toString(16).padStart(8, "0")}  ${hex.padEnd(30)}  ${line.text}\n`;
    if (block.length > 1 << 16) {
      await writeOut(block);
      block = "";
    }
  }
  await writeOut(block);
  return 0;
}

/** One instruction a line, in hex; one answer a line, at once, so that another program can ask and wait. */
async function answerHex(mode: Mode, address: bigint): Promise<void> {
  const instruction = new Instruction();
  const input = new StringDecoder("latin1");
  let pending = "";
  for await (const chunk of process.stdin) {
    const parts = (pending + input.write(chunk as Buffer)).split("\n");
    pending = parts.pop() ?? "";
    await answerLines(parts, mode, address, instruction);
  }
  await answerLines([pending], mode, address, instruction);
}

async function answerLines(
  given: readonly string[],
  mode: Mode,
  address: bigint,
  instruction: Instruction,
): Promise<void> {
  let block = "";
  let wrong: string | undefined;
  for (const line of given) {
    const text = line.replace(/\s+/g, "");
    if (text === "") continue;
    if (!/^([0-9a-fA-F]{2})+$/.test(text)) {
      wrong = line.trim();
      break;
    }
    const bytes = Buffer.from(text, "hex");
    const length = decode(bytes, 0, bytes.length, mode, instruction);
    if (length === 0 || length > MAX_HEX_BYTES) block += "0\t(bad)\n";
    else {
      const { mnemonic, operands } = formatIntel(instruction, address);
      block += `${length}\t${mnemonic}\t${operands}\n`;
    }
  }
  await writeOut(block);
  if (wrong !== undefined) throw new UsageError(`"${wrong}" is not bytes in hex`);
}

function parseMode(text: string): Mode {
  if (text === "64" || text === "32" || text === "16") return Number(text) as Mode;
  throw new UsageError(`--mode ${text}: 64, 32 or 16`);
}

function parseAddress(text: string): bigint {
  if (/^(0x[0-9a-fA-F]+|[0-9]+)$/.test(text)) return BigInt.asUintN(64, BigInt(text));
  throw new UsageError(`--at ${text}: a number, decimal or 0x…`);
}
