import { renameSync, rmSync } from "node:fs";
import { buildDebianImage } from "@paravirt/host-node";
import { convertImage } from "../disk-image.ts";
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
  const say = (what: string): void => {
    if (what !== last) process.stderr.write(`${what}\n`);
    last = what;
  };
  const build = (path: string): Promise<void> =>
    buildDebianImage(path, {
      packages,
      size: Math.floor(size / BLOCK) * BLOCK,
      ...(suite === undefined ? {} : { suite }),
      onProgress: say,
    });
  if (/\.(raw|img)$/i.test(output)) {
    await build(output);
    return 0;
  }
  // Under its own name the image is there when it is complete, and not before.
  const raw = `${output}.${process.pid}.raw`;
  const finished = `${output}.${process.pid}.tmp`;
  try {
    await build(raw);
    say("writing the qcow2 image");
    await convertImage(raw, finished, { format: "qcow2", compress: false, sourceFormat: "raw" });
    renameSync(finished, output);
  } finally {
    rmSync(raw, { force: true });
    rmSync(finished, { force: true });
  }
  return 0;
}
