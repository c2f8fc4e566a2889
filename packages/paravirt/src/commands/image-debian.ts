import { buildDebianImage } from "@paravirt/host-node";
import type { ParsedArguments } from "../options.ts";
import { parseSize } from "../sizes.ts";
import { UsageError } from "../usage-error.ts";

const BLOCK = 4096;

/** `paravirt image debian`. */
export async function imageDebian({ options }: ParsedArguments): Promise<number> {
  const output = options.get("output");
  if (output === undefined) throw new UsageError("image debian needs a file to make: -o FILE.qcow2");
  const packages = (options.get("packages") ?? "").split(",").filter((name) => name !== "");
  const suite = options.get("suite");
  const text = options.get("size") ?? "2";
  const size = parseSize(text, "g");
  if (size === undefined) throw new UsageError(`--size ${text}: GiB, or a number with m, g or t`);
  let last = "";
  await buildDebianImage(output, {
    packages,
    size: Math.floor(size / BLOCK) * BLOCK,
    ...(suite === undefined ? {} : { suite }),
    onProgress: (what) => {
      if (what !== last) process.stderr.write(`${what}\n`);
      last = what;
    },
  });
  return 0;
}
