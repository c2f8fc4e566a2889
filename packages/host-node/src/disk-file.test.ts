import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createQcow2, openQcow2, overlayDisk, rawDisk } from "@paravirt/disk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CONTRACT_SECTORS, diskContract, pattern } from "../../disk/test/disk-contract.ts";
import { runProgram } from "../test/programs.ts";
import { openDiskFile } from "./disk-file.ts";

const size = CONTRACT_SECTORS * 512;
let folder: string;
let made = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "paravirt-disk-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const fresh = (): string => join(folder, `image-${made++}`);

diskContract(
  "a raw file",
  async () => {
    const path = fresh();
    const file = openDiskFile(path, { create: "new" });
    await file.truncate(size);
    return { disk: rawDisk(file), reopen: async () => rawDisk(openDiskFile(path)), clean: () => rmSync(path) };
  },
  { runs: 3 },
);

diskContract(
  "a qcow2 file",
  async () => {
    const path = fresh();
    const file = openDiskFile(path, { create: "new" });
    await createQcow2(file, { size });
    return {
      disk: await openQcow2(file),
      reopen: () => openQcow2(openDiskFile(path)),
      clean() {
        runProgram(["qemu-img", "check", path]);
        rmSync(path);
      },
    };
  },
  { runs: 3 },
);

diskContract(
  "an overlay in a file",
  async () => {
    const file = openDiskFile(fresh(), { create: "new" });
    await file.truncate(size);
    const store = openDiskFile(fresh(), { create: "new", lock: false });
    return { disk: overlayDisk(rawDisk(file, { readOnly: true }), { store }) };
  },
  { runs: 3 },
);

describe("a file as a disk", () => {
  test("is opened by one writer, or by readers", async () => {
    const path = fresh();
    writeFileSync(path, new Uint8Array(65536));
    const writer = openDiskFile(path);
    expect(() => openDiskFile(path)).toThrow(expect.objectContaining({ code: "BUSY" }));
    expect(() => openDiskFile(path, { readOnly: true })).toThrow(expect.objectContaining({ code: "BUSY" }));
    expect(() => openDiskFile(path, { create: "empty" })).toThrow(expect.objectContaining({ code: "BUSY" }));
    await writer.close();
    const readers = [openDiskFile(path, { readOnly: true }), openDiskFile(path, { readOnly: true })];
    expect(() => openDiskFile(path)).toThrow(expect.objectContaining({ code: "BUSY" }));
    for (const reader of readers) await reader.close();
    await openDiskFile(path).close();
    expect(statSync(path).size).toBe(65536);
  });

  test("keeps QEMU out, and is kept out by it", async () => {
    const path = fresh();
    writeFileSync(path, new Uint8Array(65536));
    const writer = openDiskFile(path);
    expect(runProgram(["qemu-io", "-f", "raw", "-c", "write 0 512", path], [1])).toContain("lock");
    await writer.close();
    const reader = openDiskFile(path, { readOnly: true });
    expect(runProgram(["qemu-io", "-f", "raw", "-c", "write 0 512", path], [1])).toContain("lock");
    runProgram(["qemu-io", "-r", "-f", "raw", "-c", "read 0 512", path]);
    await reader.close();
    runProgram(["qemu-io", "-f", "raw", "-c", "write 0 512", path]);
  });

  test("reads zeros past its end, grows by writing there, and takes over a thousand buffers", async () => {
    const path = fresh();
    const file = openDiskFile(path, { create: "new" });
    const buffers = Array.from({ length: 2500 }, (_, n) => pattern(512, n));
    await file.write(1000, buffers);
    expect(file.size).toBe(1000 + 2500 * 512);
    const back = Array.from({ length: 2600 }, () => new Uint8Array(512).fill(0xee));
    await file.read(1000, back);
    expect(back.slice(0, 2500)).toEqual(buffers);
    expect(back.slice(2500).every((buffer) => buffer.every((byte) => byte === 0))).toBe(true);
    await file.flush();
    await file.close();
    expect(statSync(path).size).toBe(1000 + 2500 * 512);
  });

  test("gives the place of discarded sectors back", async () => {
    const path = fresh();
    const file = openDiskFile(path, { create: "new" });
    const disk = rawDisk(file);
    await disk.resize(65536);
    await disk.write(0, [new Uint8Array(16 << 20).fill(7)]);
    await disk.flush();
    const before = statSync(path).blocks;
    await disk.discard!(0, 16384);
    await disk.writeZeroes!(16384, 8192);
    const bytes = new Uint8Array(4096);
    await disk.read(20000, [bytes]);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    await disk.read(25000, [bytes]);
    expect(bytes.every((byte) => byte === 7)).toBe(true);
    expect(statSync(path).blocks).toBeLessThan(before / 2);
    expect(statSync(path).size).toBe(65536 * 512);
    await disk.close?.();
  });

  test("tells what is no disk and what isn't there", () => {
    expect(() => openDiskFile(folder, { readOnly: true })).toThrow(expect.objectContaining({ code: "UNAVAILABLE" }));
    expect(() => openDiskFile(fresh())).toThrow(/can't be opened: no such file|can't be opened/i);
    const path = fresh();
    writeFileSync(path, "here");
    expect(() => openDiskFile(path, { create: "new" })).toThrow(expect.objectContaining({ code: "UNAVAILABLE" }));
    expect(readFileSync(path, "utf8")).toBe("here");
  });

  test("is written by nobody once it is read-only", async () => {
    const path = fresh();
    writeFileSync(path, new Uint8Array(512));
    const disk = rawDisk(openDiskFile(path, { readOnly: true }));
    expect(() => disk.write(0, [new Uint8Array(512)])).toThrow(expect.objectContaining({ code: "DENIED" }));
    await disk.close?.();
  });
});
