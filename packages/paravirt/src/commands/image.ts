import { checkImage, convertImage, createImage, type ImageFormat, imageInfo, resizeImage } from "../disk-image.ts";
import { describeCheck, describeInfo } from "../disk-image-text.ts";
import type { ParsedArguments } from "../options.ts";
import { parseSize } from "../sizes.ts";
import { UsageError } from "../usage-error.ts";
import { writeOut } from "../write-out.ts";

/** `paravirt image create|convert|info|check|resize`. */
export async function image(parsed: ParsedArguments): Promise<number> {
  switch (parsed.command.words[1]) {
    case "create":
      return create(parsed);
    case "convert":
      return convert(parsed);
    case "info":
      return info(parsed);
    case "check":
      return check(parsed);
    default:
      return resize(parsed);
  }
}

async function create({ options, operands }: ParsedArguments): Promise<number> {
  const [file, size] = operands;
  if (file === undefined) throw new UsageError("image create needs a file, and a size such as 10g");
  const backing = options.get("backing");
  const backingFormat = formatOf("backing-format", options);
  if (backing === undefined && size === undefined) throw new UsageError("image create needs a size such as 10g");
  if ((backing === undefined) !== (backingFormat === undefined))
    throw new UsageError("--backing and --backing-format go together: formats of backing files aren't guessed");
  const format = formatOf("format", options) ?? formatByName(file);
  if (format === "raw" && backing !== undefined) throw new UsageError("a raw image can't have a backing file");
  await createImage(file, {
    format,
    ...shapeOf(options, format),
    ...(size === undefined ? {} : { size: sizeOf(size) }),
    ...(backing === undefined ? {} : { backing: { file: backing, format: backingFormat! } }),
  });
  return 0;
}

async function convert({ options, operands }: ParsedArguments): Promise<number> {
  const [source, target] = operands;
  if (source === undefined || target === undefined) throw new UsageError("image convert needs a source and a target");
  const format = formatOf("format", options) ?? formatByName(target);
  const compress = options.has("compress");
  if (compress && format === "raw") throw new UsageError("--compress: a raw image can't be compressed");
  const sourceFormat = formatOf("source-format", options);
  const showsProgress = process.stderr.isTTY === true;
  let shown = -1;
  await convertImage(source, target, {
    format,
    compress,
    ...shapeOf(options, format),
    ...(sourceFormat === undefined ? {} : { sourceFormat }),
    onProgress(done, total) {
      const percent = Math.floor((done / Math.max(total, 1)) * 100);
      if (!showsProgress || percent === shown) return;
      shown = percent;
      process.stderr.write(`\r${percent} %${percent === 100 ? "\n" : ""}`);
    },
  });
  return 0;
}

async function info({ options, operands }: ParsedArguments): Promise<number> {
  const [file] = operands;
  if (file === undefined) throw new UsageError("image info needs a file");
  const report = await imageInfo(file);
  await writeOut(options.has("json") ? `${JSON.stringify(report, null, 2)}\n` : describeInfo(report));
  return 0;
}

/** Statuses are qemu-img's: scripts that look at them need no change. */
async function check({ options, operands }: ParsedArguments): Promise<number> {
  const [file] = operands;
  if (file === undefined) throw new UsageError("image check needs a file");
  const repair = options.get("repair");
  if (repair !== undefined && repair !== "leaks" && repair !== "all")
    throw new UsageError(`--repair ${repair}: leaks or all`);
  const report = await checkImage(file, repair);
  await writeOut(options.has("json") ? `${JSON.stringify(report, null, 2)}\n` : describeCheck(report));
  const left = report.after ?? report;
  if (left.corruptions > 0) return 4;
  return left.leaks > 0 ? 3 : 0;
}

async function resize({ options, operands }: ParsedArguments): Promise<number> {
  const [file, text] = operands;
  if (file === undefined || text === undefined)
    throw new UsageError("image resize needs a file and a size, 10g or +2g");
  const format = formatOf("format", options);
  const added = text.startsWith("+");
  await resizeImage(file, {
    size: sizeOf(added ? text.slice(1) : text),
    added,
    shrink: options.has("shrink"),
    ...(format === undefined ? {} : { format }),
  });
  return 0;
}

function formatOf(name: string, options: ParsedArguments["options"]): ImageFormat | undefined {
  const text = options.get(name);
  if (text === undefined || text === "raw" || text === "qcow2") return text;
  throw new UsageError(`--${name} ${text}: raw or qcow2`);
}

function formatByName(file: string): ImageFormat {
  return /\.(raw|img)$/i.test(file) ? "raw" : "qcow2";
}

/** A disk's size: whole sectors. */
function sizeOf(text: string): number {
  return Math.ceil(bytesOf(text) / 512) * 512;
}

/** Bytes; without a unit they are counted, as qemu-img does. */
function bytesOf(text: string): number {
  const bytes = /^[0-9]+$/.test(text) ? Number(text) : parseSize(text, "k");
  if (bytes === undefined || !Number.isSafeInteger(bytes))
    throw new UsageError(`${text} is no size: bytes, or a number with k, m, g or t`);
  return bytes;
}

function shapeOf(
  options: ParsedArguments["options"],
  format: ImageFormat,
): { clusterSize?: number; refcountBits?: number; version?: 2 | 3 } {
  const shape: { clusterSize?: number; refcountBits?: number; version?: 2 | 3 } = {};
  for (const name of ["cluster-size", "refcount-bits", "compat"])
    if (format === "raw" && options.has(name)) throw new UsageError(`--${name}: a raw image has none`);
  const clusterSize = options.get("cluster-size");
  if (clusterSize !== undefined) shape.clusterSize = bytesOf(clusterSize);
  const refcountBits = options.get("refcount-bits");
  if (refcountBits !== undefined) shape.refcountBits = Number(refcountBits);
  const compat = options.get("compat");
  if (compat !== undefined) {
    if (compat !== "v2" && compat !== "v3") throw new UsageError(`--compat ${compat}: v3 or v2`);
    shape.version = compat === "v2" ? 2 : 3;
  }
  return shape;
}
