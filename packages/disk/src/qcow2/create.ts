import { ParavirtError } from "@paravirt/core";
import { run, type Steps, settled } from "../answer.ts";
import type { BlockFile } from "../block-file.ts";
import { SECTOR } from "../range.ts";
import { setPlainOffset } from "./entry.ts";
import { encodeHeader, INCOMPATIBLE, LAZY_REFCOUNTS, MAX_L1_BYTES, viewOf } from "./header.ts";
import { writeRefcount } from "./refcounts.ts";

/** What a new qcow2 image is like. */
export interface CreateQcow2Options {
  /** Bytes of the disk; a multiple of 512. */
  readonly size: number;
  /** Bytes of a cluster: a power of two from 512 to 2097152 (65536). */
  readonly clusterSize?: number;
  /** Format version: 3, or 2 for programs from before 2012 (3). */
  readonly version?: 2 | 3;
  /** Bits of a reference count: a power of two from 1 to 64; version 2 has 16 only (16). */
  readonly refcountBits?: number;
  /** Whether other programs may leave reference counts to be computed after a crash; this package keeps them right. */
  readonly lazyRefcounts?: boolean;
  /** How clusters are to be compressed by those who write compressed ones (`"zlib"`). */
  readonly compression?: "zlib" | "zstd";
  /** What shows where nothing was written. */
  readonly backing?: {
    /** Its name, as {@link OpenQcow2Options.openBacking} will get it. */
    readonly file: string;
    /** Its format: `raw` or `qcow2` for this package and QEMU. */
    readonly format: string;
  };
}

/** Writes an empty qcow2 image into `file`, whatever was there before. Its header comes last, behind a barrier. */
export async function createQcow2(file: BlockFile, options: CreateQcow2Options): Promise<void> {
  const clusterSize = options.clusterSize ?? 65536;
  const clusterBits = Math.log2(clusterSize);
  const refcountBits = options.refcountBits ?? 16;
  const refcountOrder = Math.log2(refcountBits);
  const version = options.version ?? 3;
  if (!Number.isInteger(clusterBits) || clusterBits < 9 || clusterBits > 21)
    throw wrong(`clusters of ${clusterSize} bytes; a power of two from 512 to 2097152 is allowed`);
  if (!Number.isInteger(refcountOrder) || refcountOrder < 0 || refcountOrder > 6)
    throw wrong(`refcounts of ${refcountBits} bits; a power of two from 1 to 64 is allowed`);
  if (!Number.isSafeInteger(options.size) || options.size < 0 || options.size % SECTOR !== 0)
    throw wrong(`a disk of ${options.size} bytes; it has to be a multiple of ${SECTOR}`);
  const isV2 = version === 2;
  if (isV2 && (refcountBits !== 16 || options.lazyRefcounts === true || options.compression === "zstd"))
    throw wrong("version 2 has refcounts of 16 bits, no lazy refcounts and no zstd");
  const l1Entries = Math.ceil(options.size / (clusterSize * (clusterSize / 8)));
  if (l1Entries * 8 > MAX_L1_BYTES)
    throw wrong(`${options.size} bytes need clusters of more than ${clusterSize} bytes`);

  const plan = planTables(clusterSize, refcountBits, Math.ceil((l1Entries * 8) / clusterSize));
  const header = encodeHeader({
    version,
    clusterBits,
    size: options.size,
    l1Entries,
    l1Offset: (1 + plan.tableClusters + plan.blocks) * clusterSize,
    refcountTableOffset: clusterSize,
    refcountTableClusters: plan.tableClusters,
    refcountOrder,
    incompatible: options.compression === "zstd" ? INCOMPATIBLE.compressionType : 0n,
    compatible: options.lazyRefcounts === true ? LAZY_REFCOUNTS : 0n,
    autoclear: 0n,
    compression: options.compression ?? "zlib",
    backingFile: options.backing?.file,
    backingFormat: options.backing?.format,
  });
  await run(writeImage(file, header, plan, clusterSize, refcountOrder));
}

interface Plan {
  readonly tableClusters: number;
  readonly blocks: number;
  readonly total: number;
}

/** How many clusters of refcounts count themselves, the header and `l1Clusters`. */
function planTables(clusterSize: number, refcountBits: number, l1Clusters: number): Plan {
  const perBlock = (clusterSize * 8) / refcountBits;
  let blocks = 1;
  let tableClusters = 1;
  for (;;) {
    const total = 1 + tableClusters + blocks + l1Clusters;
    const needed = Math.ceil(total / perBlock);
    const table = Math.ceil((needed * 8) / clusterSize);
    if (needed <= blocks && table <= tableClusters) return { tableClusters, blocks, total };
    blocks = Math.max(blocks, needed);
    tableClusters = Math.max(tableClusters, table);
  }
}

function* writeImage(file: BlockFile, header: Uint8Array, plan: Plan, clusterSize: number, order: number): Steps<void> {
  const tables = new Uint8Array((plan.tableClusters + plan.blocks) * clusterSize);
  for (let n = 0; n < plan.blocks; n++) setPlainOffset(viewOf(tables), n, (1 + plan.tableClusters + n) * clusterSize);
  // The blocks follow each other, so they are one long one.
  const counts = viewOf(tables.subarray(plan.tableClusters * clusterSize));
  for (let n = 0; n < plan.total; n++) writeRefcount(counts, n, order, 1);
  yield* settled(file.truncate(0));
  // The L1 table is what the file's new length makes it: zeros.
  yield* settled(file.truncate(plan.total * clusterSize));
  yield* settled(file.write(clusterSize, [tables]));
  yield* settled(file.flush());
  yield* settled(file.write(0, [header]));
  yield* settled(file.flush());
}

function wrong(what: string): ParavirtError {
  return new ParavirtError("BAD_ARGUMENT", what);
}
