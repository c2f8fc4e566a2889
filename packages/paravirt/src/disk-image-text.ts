import type { Qcow2Report } from "@paravirt/disk";
import type { ImageInfo } from "./disk-image.ts";

/** An image's description as lines. */
export function describeInfo(info: ImageInfo): string {
  const lines = [
    `file: ${info.file}`,
    `format: ${info.format}${info.version === undefined ? "" : `, version ${info.version}`}`,
    `size of the disk: ${sizeText(info.virtualSize)}`,
    `size of the file on disk: ${sizeText(info.actualSize)}`,
  ];
  if (info.clusterSize !== undefined)
    lines.push(
      `cluster size: ${info.clusterSize}`,
      `refcounts: ${info.refcountBits} bits${info.lazyRefcounts === true ? ", lazy" : ""}`,
      `compression: ${info.compression}`,
    );
  if (info.backingFile !== undefined)
    lines.push(`backing file: ${info.backingFile} (${info.backingFormat ?? "no format given"})`);
  for (const one of info.snapshots ?? [])
    lines.push(`snapshot ${one.id}: ${one.name}, ${new Date(one.taken * 1000).toISOString()}`);
  if (info.dirty === true) lines.push("refcounts: to be computed, since it was left in use");
  if (info.corrupt === true) lines.push("marked as damaged");
  return `${lines.join("\n")}\n`;
}

/** What a check found, as lines. */
export function describeCheck(report: Qcow2Report & { readonly after?: Qcow2Report }): string {
  const lines = [...report.problems];
  if (report.leaks > 0) lines.push(`${report.leaks} clusters are lost space`);
  if (report.corruptions > 0) lines.push(`${report.corruptions} places are damaged`);
  if (report.repaired) lines.push("repaired");
  const left = report.after ?? report;
  if (left.leaks + left.corruptions === 0) lines.push("the image is right");
  else if (report.repaired) lines.push(`${left.leaks + left.corruptions} problems are left`);
  const { allocatedClusters, totalClusters, compressedClusters, endOffset } = report;
  lines.push(
    `${allocatedClusters} of ${totalClusters} clusters in use, ${compressedClusters} compressed; ends at ${endOffset}`,
  );
  return `${lines.join("\n")}\n`;
}

function sizeText(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${bytes} bytes` : `${Math.round(value * 100) / 100} ${units[unit]} (${bytes} bytes)`;
}
