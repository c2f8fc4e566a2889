import { type ImageReport, inspectImage } from "@paravirt/boot";
import type { ParsedArguments } from "../options.ts";
import { readInput } from "../read-input.ts";
import { UsageError } from "../usage-error.ts";
import { writeOut } from "../write-out.ts";

/** `paravirt inspect`. */
export async function inspect({ options, operands }: ParsedArguments): Promise<number> {
  const file = operands[0];
  if (file === undefined) throw new UsageError("inspect needs a file");
  const report = inspectImage(readInput(file));
  await writeOut(options.has("json") ? `${JSON.stringify(report, null, 2)}\n` : describe(report));
  return 0;
}

/** The report as indented lines, in the report's own order. */
function describe(report: ImageReport): string {
  return `${lines(report, "").join("\n")}\n`;
}

function lines(value: object, indent: string): string[] {
  return Object.entries(value).flatMap(([name, entry]): string[] => {
    if (Array.isArray(entry)) {
      if (entry.every((item) => typeof item !== "object")) return [`${indent}${name}: ${entry.join(", ") || "none"}`];
      return [
        `${indent}${name}:`,
        ...entry.map(
          (item) =>
            `${indent}  ${Object.entries(item as object)
              .map(([key, part]) => `${key} ${String(part)}`)
              .join(", ")}`,
        ),
      ];
    }
    if (typeof entry === "object" && entry !== null) return [`${indent}${name}:`, ...lines(entry, `${indent}  `)];
    return [`${indent}${name}: ${String(entry)}`];
  });
}
