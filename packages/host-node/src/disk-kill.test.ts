import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createQcow2, openQcow2 } from "@paravirt/disk";
import { buildSync } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runProgram } from "../test/programs.ts";
import { diskCodecs } from "./disk-codecs.ts";
import { openDiskFile } from "./disk-file.ts";

let folder: string;
let writer: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "paravirt-kill-"));
  writer = join(folder, "writer.mjs");
  buildSync({
    entryPoints: [new URL("../test/disk-writer.ts", import.meta.url).pathname],
    outfile: writer,
    bundle: true,
    platform: "node",
    format: "esm",
    conditions: ["@paravirt/source"],
    logLevel: "error",
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the writer, kills it so long after so many flushes, and answers what it said. */
async function writeAndKill(path: string, before: number, flushes: number, milliseconds: number): Promise<string[]> {
  const child = spawn(process.execPath, [writer, path, String(before)], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  const enough = new Promise<void>((resolve) => {
    child.stdout.setEncoding("utf8").on("data", (piece: string) => {
      said += piece;
      if (said.split("flushed\n").length > flushes) resolve();
    });
    child.once("close", () => resolve());
  });
  const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
  await enough;
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  child.kill("SIGKILL");
  await gone;
  // A last line without its end was never said.
  return said.split("\n").slice(0, -1);
}

const SIZE = 64 << 20;

for (const clusterSize of [512, 65536])
  test(`a writer killed with kill -9 leaves an image of clusters of ${clusterSize} bytes right, with what it had flushed`, {
    timeout: 300_000,
  }, async () => {
    const path = join(folder, `image-${clusterSize}`);
    const file = openDiskFile(path, { create: "new" });
    await createQcow2(file, { size: SIZE, clusterSize });
    await file.close();
    /** The number that each block must have, unless it has one of a write that was never flushed: those are larger. */
    const must = new Uint32Array(SIZE / 4096);
    let flushes = 0;
    for (let round = 0; round < 12; round++) {
      const lines = await writeAndKill(path, round * 1_000_000, 1 + (round % 4), (round * 37) % 100);
      let newest = round * 1_000_000;
      let last: string[] = [];
      for (const line of lines) {
        if (line.startsWith("writing ")) last = line.slice(8).split(" ");
        if (line !== "flushed") continue;
        flushes++;
        for (const pair of last) {
          const [block, number] = pair.split(":").map(Number);
          must[block!] = number!;
          newest = Math.max(newest, number!);
        }
      }
      // Waits until the killed one's files are free, as QEMU doesn't. Status 3 is lost space only.
      await openDiskFile(path).close();
      runProgram(["qemu-img", "check", path], [0, 3]);
      const disk = await openQcow2(openDiskFile(path, { readOnly: true }), { codecs: diskCodecs });
      const bytes = new Uint8Array(SIZE);
      await disk.read(0, [bytes]);
      await disk.close?.();
      const words = new Uint32Array(bytes.buffer);
      for (let block = 0; block < must.length; block++) {
        const found = words[block * 1024]!;
        if (found !== must[block] && found <= newest)
          throw new Error(`round ${round}: block ${block} holds ${found} instead of ${must[block]}`);
        must[block] = found;
      }
    }
    expect(flushes).toBeGreaterThan(20);
  });
