import {
  closeSync,
  copyFileSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Disk } from "@paravirt/core";
import {
  checkQcow2,
  copyDisk,
  copyDiskCompressed,
  createQcow2,
  openQcow2,
  type Qcow2Disk,
  rawDisk,
  readQcow2Info,
} from "@paravirt/disk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pattern, same } from "../../disk/test/disk-contract.ts";
import { runProgram } from "../test/programs.ts";
import { diskCodecs } from "./disk-codecs.ts";
import { openDiskFile } from "./disk-file.ts";

let folder: string;
let raw: string;
let content: Uint8Array;
const SIZES = Array.from({ length: 13 }, (_, n) => 512 << n);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "paravirt-qemu-"));
  // Text, noise, zeros, text; no whole number of clusters.
  content = new Uint8Array(6 * 1024 * 1024 + 5 * 512);
  for (let at = 0; at < 1 << 20; at++) content[at] = 97 + ((at >> 4) % 20);
  let state = 1;
  for (let at = 1 << 20; at < 3 << 20; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    content[at] = state >>> 24;
  }
  for (let at = 5 << 20; at < content.length; at++) content[at] = 65 + ((at >> 6) % 9);
  raw = join(folder, "content.raw");
  writeFileSync(raw, content);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string): string => join(folder, name);
async function open(name: string, readOnly = false): Promise<Qcow2Disk> {
  const file = openDiskFile(at(name), { readOnly });
  try {
    return await openQcow2(file, {
      codecs: diskCodecs,
      openBacking: async (below, format) =>
        format === "raw" ? rawDisk(openDiskFile(at(below), { readOnly: true })) : open(below, true),
    });
  } catch (error) {
    await file.close();
    throw error;
  }
}
async function contentOf(disk: Disk): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.sectors * 512);
  await disk.read(0, [bytes]);
  return bytes;
}

function patch(name: string, where: number, bytes: readonly number[]): void {
  const file = openSync(at(name), "r+");
  writeSync(file, Uint8Array.from(bytes), 0, bytes.length, where);
  closeSync(file);
}

describe("an image that QEMU made", () => {
  for (const clusterSize of SIZES)
    test(`is read and written, with clusters of ${clusterSize} bytes`, async () => {
      const name = `theirs-${clusterSize}`;
      runProgram(["qemu-img", "convert", "-O", "qcow2", "-o", `cluster_size=${clusterSize}`, raw, at(name)]);
      const disk = await open(name);
      expect(same(await contentOf(disk), content)).toBe(true);
      const piece = pattern(300 * 512, 5);
      await disk.write(5001, [piece]);
      await disk.close?.();
      runProgram(["qemu-img", "check", at(name)]);
      const changed = content.slice();
      changed.set(piece, 5001 * 512);
      writeFileSync(at("changed.raw"), changed);
      runProgram(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", at("changed.raw"), at(name)]);
    });

  for (const [what, options] of [
    ["zlib", "compression_type=zlib"],
    ["zstd", "compression_type=zstd"],
    ["zlib in clusters of 512 bytes", "compression_type=zlib,cluster_size=512"],
    ["zstd in clusters of 2 MiB", "compression_type=zstd,cluster_size=2M"],
    ["zlib in version 2", "compat=0.10"],
  ] as const)
    test(`is read and written, compressed with ${what}`, async () => {
      const name = `packed-${what.replaceAll(" ", "-")}`;
      runProgram(["qemu-img", "convert", "-c", "-O", "qcow2", "-o", options, raw, at(name)]);
      const disk = await open(name);
      expect(same(await contentOf(disk), content)).toBe(true);
      // Over compressed clusters, in part and whole.
      const piece = pattern(900 * 512, 6);
      await disk.write(3, [piece]);
      await disk.discard!(5000, 1000);
      const after = await contentOf(disk);
      await disk.close?.();
      expect(same(after.subarray(3 * 512, 903 * 512), piece)).toBe(true);
      runProgram(["qemu-img", "check", at(name)]);
      writeFileSync(at("after.raw"), after);
      runProgram(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", at("after.raw"), at(name)]);
    });

  for (const bits of [1, 2, 4, 8, 32, 64])
    test(`is written with refcounts of ${bits} bits`, async () => {
      const name = `refcounts-${bits}`;
      runProgram([
        "qemu-img",
        "create",
        "-f",
        "qcow2",
        "-o",
        `refcount_bits=${bits},cluster_size=512`,
        at(name),
        "20M",
      ]);
      const disk = await open(name);
      await copyDisk(rawDisk(openDiskFile(raw, { readOnly: true })), disk);
      await disk.close?.();
      runProgram(["qemu-img", "check", at(name)]);
      runProgram(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, at(name)]);
    });

  test("shows its backing files, and leaves them as they are", async () => {
    runProgram(["qemu-img", "create", "-f", "qcow2", "-b", "content.raw", "-F", "raw", at("middle"), "8M"]);
    runProgram(["qemu-io", "-c", "write -P 9 1M 64k", "-c", "write -z 2M 128k", at("middle")]);
    runProgram(["qemu-img", "create", "-f", "qcow2", "-b", "middle", "-F", "qcow2", at("top")]);
    const disk = await open("top");
    await disk.write(2048 + 8, [new Uint8Array(4096).fill(3)]);
    await disk.discard!(0, 1024);
    const seen = await contentOf(disk);
    expect(seen.subarray(0, 1024 * 512).every((byte) => byte === 0)).toBe(true);
    await disk.close?.();
    runProgram(["qemu-img", "check", at("top")]);
    writeFileSync(at("top.raw"), seen);
    runProgram(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", at("top.raw"), at("top")]);
    expect(same(readFileSync(raw), content)).toBe(true);
    runProgram(["qemu-io", "-r", "-c", "read -P 9 1M 64k", at("middle")]);
  });

  for (const compat of ["1.1", "0.10"])
    test(`keeps its snapshots, of version ${compat}`, async () => {
      const name = `snapshots-${compat}`;
      runProgram(["qemu-img", "convert", "-O", "qcow2", "-o", `compat=${compat}`, raw, at(name)]);
      runProgram(["qemu-img", "snapshot", "-c", "before", at(name)]);
      const disk = await open(name);
      expect(disk.info.snapshots.map((one) => one.name)).toEqual(["before"]);
      await disk.write(0, [pattern(3000 * 512, 7)]);
      await disk.writeZeroes!(4000, 1000);
      const now = await contentOf(disk);
      await disk.close?.();
      runProgram(["qemu-img", "check", at(name)]);
      writeFileSync(at("now.raw"), now);
      runProgram(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", at("now.raw"), at(name)]);
      runProgram(["qemu-img", "snapshot", "-a", "before", at(name)]);
      runProgram(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, at(name)]);
    });

  test("gets its refcounts computed when it was left with lazy ones", async () => {
    runProgram(["qemu-img", "create", "-f", "qcow2", "-o", "lazy_refcounts=on", at("lazy"), "20M"]);
    // Killed in the middle: the dirty bit stays, and refcounts are wrong.
    runProgram(["qemu-io", "-c", "write -P 4 0 3M", "-c", "flush", "-c", "abort", at("lazy")], [-1, 134]);
    expect((await readQcow2Info(openDiskFile(at("lazy"), { readOnly: true, lock: false }))).dirty).toBe(true);
    const reader = await open("lazy", true);
    expect((await contentOf(reader)).subarray(0, 3 << 20).every((byte) => byte === 4)).toBe(true);
    await reader.close?.();
    const disk = await open("lazy");
    expect(disk.info).toMatchObject({ dirty: false, lazyRefcounts: true });
    await disk.write(10000, [new Uint8Array(65536).fill(5)]);
    await disk.close?.();
    runProgram(["qemu-img", "check", at("lazy")]);
    runProgram(["qemu-io", "-c", "read -P 4 0 3M", "-c", "read -P 5 5120000 64k", at("lazy")]);
  });

  test("is refused by name for what isn't supported", async () => {
    runProgram([
      "qemu-img",
      "create",
      "-f",
      "qcow2",
      "-o",
      `data_file=${at("data")},data_file_raw=on`,
      at("split"),
      "1M",
    ]);
    runProgram(["qemu-img", "create", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k", at("extended"), "1M"]);
    runProgram(["qemu-img", "create", "-f", "qcow2", at("secret"), "1M"]);
    patch("secret", 35, [2]);
    await expect(open("split")).rejects.toMatchObject({
      code: "UNSUPPORTED",
      message: expect.stringMatching(/external data file/),
    });
    await expect(open("extended")).rejects.toThrow(/extended L2/);
    await expect(open("secret")).rejects.toThrow(/LUKS/);
    runProgram(["qemu-img", "create", "-f", "qcow2", at("future"), "1M"]);
    patch("future", 72, [0x80]);
    await expect(open("future")).rejects.toThrow(/incompatible feature 63/);
    runProgram(["qemu-img", "create", "-f", "qcow2", at("bitmaps"), "1M"]);
    runProgram(["qemu-img", "bitmap", "--add", at("bitmaps"), "b0"]);
    await expect(open("bitmaps")).rejects.toThrow(/persistent bitmaps/);
    const reader = await open("bitmaps", true);
    expect((await contentOf(reader)).length).toBe(1 << 20);
    await reader.close?.();
    await expect(open("content.raw", true)).rejects.toMatchObject({ code: "BAD_IMAGE" });
  });

  test("is found damaged where QEMU finds it so, and mended to what QEMU accepts", async () => {
    runProgram(["qemu-img", "convert", "-O", "qcow2", raw, at("sound")]);
    for (const [name, where, bytes, status] of [
      // The refcount block is the third cluster: one counts what isn't used, one doesn't count what is.
      ["leaked", 2 * 65536 + 2 * 75, [0, 1], 3],
      ["uncounted", 2 * 65536 + 2 * 10, [0, 0], 2],
    ] as const) {
      copyFileSync(at("sound"), at(name));
      truncateSync(at(name), 80 * 65536);
      patch(name, where, bytes);
      runProgram(["qemu-img", "check", at(name)], [status]);
      const image = openDiskFile(at(name));
      const report = await checkQcow2(image, { repair: "all" });
      expect(report.repaired).toBe(true);
      expect(report[status === 3 ? "leaks" : "corruptions"]).toBeGreaterThan(0);
      expect(await checkQcow2(image)).toMatchObject({ leaks: 0, corruptions: 0 });
      await image.close();
      runProgram(["qemu-img", "check", at(name)]);
      runProgram(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, at(name)]);
    }
  });
});

describe("an image that was made here", () => {
  for (const clusterSize of SIZES)
    test(`is what QEMU reads, with clusters of ${clusterSize} bytes, plain and compressed`, async () => {
      const source = rawDisk(openDiskFile(raw, { readOnly: true }));
      for (const kind of ["plain", "packed"]) {
        const name = `ours-${kind}-${clusterSize}`;
        const file = openDiskFile(at(name), { create: "new" });
        await createQcow2(file, { size: content.length, clusterSize });
        const disk = await openQcow2(file, { codecs: diskCodecs });
        if (kind === "plain") await copyDisk(source, disk);
        else await copyDiskCompressed(source, disk, diskCodecs);
        await disk.close?.();
        runProgram(["qemu-img", "check", at(name)]);
        runProgram(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, at(name)]);
        const again = await open(name, true);
        expect(same(await contentOf(again), content)).toBe(true);
        await again.close?.();
      }
      await source.close?.();
    });

  test("grows and shrinks as QEMU's do", async () => {
    const file = openDiskFile(at("resized"), { create: "new" });
    await createQcow2(file, { size: content.length, clusterSize: 4096 });
    const disk = await openQcow2(file);
    await disk.write(0, [content]);
    let told = 0;
    disk.onResize!(() => told++);
    await disk.resize(4 * 1024 * 1024 * 2);
    expect(disk.sectors).toBe(8 << 20);
    await disk.write((8 << 20) - 8, [new Uint8Array(4096).fill(1)]);
    await disk.resize(5001);
    await disk.resize(20000);
    const seen = await contentOf(disk);
    expect(same(seen.subarray(0, 5001 * 512), content.subarray(0, 5001 * 512))).toBe(true);
    expect(seen.subarray(5001 * 512).every((byte) => byte === 0)).toBe(true);
    expect(told).toBe(3);
    await disk.close?.();
    runProgram(["qemu-img", "check", at("resized")]);
    expect(runProgram(["qemu-img", "info", at("resized")])).toContain(`${20000 * 512} bytes`);
  });

  test("is written by QEMU over its backing file, and read here again", async () => {
    const file = openDiskFile(at("over"), { create: "new" });
    await createQcow2(file, { size: content.length, backing: { file: "content.raw", format: "raw" } });
    await file.close();
    runProgram(["qemu-io", "-c", "write -P 8 100k 50k", "-c", "discard 1M 1M", at("over")]);
    const disk = await open("over");
    const seen = await contentOf(disk);
    await disk.close?.();
    writeFileSync(at("over.raw"), seen);
    runProgram(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", at("over.raw"), at("over")]);
    expect(seen[101 * 1024]).toBe(8);
  });
});
