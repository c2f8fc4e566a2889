import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CONTRACT_SECTORS, diskContract, pattern } from "../../disk/test/disk-contract.ts";
import { openDiskFile } from "./disk-file.ts";
import { openNbd, parseNbdAddress } from "./nbd-socket.ts";

let folder: string;
let made = 0;
const servers = new Set<ChildProcess>();
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "paravirt-nbd-"));
});
afterAll(() => {
  for (const server of servers) server.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** Starts `qemu-nbd` for `path`; answers an address and how to end it. */
async function serve(path: string, words: readonly string[] = []): Promise<{ address: string; stop(): Promise<void> }> {
  const socket = join(folder, `socket-${made++}`);
  const server = spawn("qemu-nbd", ["-t", "-e", "8", "-f", "raw", "-k", socket, "-x", "a disk", ...words, path], {
    stdio: "ignore",
  });
  servers.add(server);
  const gone = new Promise<void>((resolve) => server.once("close", () => resolve()));
  // The socket is there before anybody listens.
  const answers = (): Promise<boolean> =>
    new Promise((resolve) => {
      const probe = connect({ path: socket }, () => resolve(true)).on("error", () => resolve(false));
      probe.on("connect", () => probe.destroy());
    });
  for (let n = 0; !(await answers()) && n < 500; n++) await new Promise((resolve) => setTimeout(resolve, 10));
  return {
    address: `nbd+unix:///a%20disk?socket=${socket}`,
    async stop() {
      server.kill("SIGKILL");
      await gone;
      servers.delete(server);
    },
  };
}

async function emptyFile(): Promise<string> {
  const path = join(folder, `disk-${made++}`);
  const file = openDiskFile(path, { create: "new" });
  await file.truncate(CONTRACT_SECTORS * 512);
  await file.close();
  return path;
}

diskContract(
  "an export of qemu-nbd",
  async () => {
    const path = await emptyFile();
    const { address, stop } = await serve(path, ["--discard=unmap"]);
    return {
      disk: await openNbd(address),
      reopen: () => openNbd(address),
      async clean() {
        await stop();
        rmSync(path);
      },
    };
  },
  { runs: 3 },
);

describe("an NBD disk", () => {
  test("is read-only when its server says so", async () => {
    const { address, stop } = await serve(await emptyFile(), ["-r"]);
    const disk = await openNbd(address);
    expect(disk.readOnly).toBe(true);
    await expect((async () => disk.write(0, [new Uint8Array(512)]))()).rejects.toMatchObject({ code: "DENIED" });
    await disk.close?.();
    await stop();
  });

  test("tells that an export isn't there, and that nobody answers", async () => {
    const { address, stop } = await serve(await emptyFile());
    await expect(openNbd(address.replace("a%20disk", "other"))).rejects.toThrow(/no such export/);
    await stop();
    await expect(openNbd(address)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  test("fails its requests when the connection is lost, those that wait and those that come", async () => {
    const path = await emptyFile();
    writeFileSync(path, pattern(CONTRACT_SECTORS * 512, 1));
    const { address, stop } = await serve(path);
    const disk = await openNbd(address);
    const reads = Array.from({ length: 50 }, () => (async () => disk.read(0, [new Uint8Array(1 << 20)]))());
    const all = Promise.allSettled(reads);
    await stop();
    await all;
    await expect((async () => disk.read(0, [new Uint8Array(512)]))()).rejects.toMatchObject({ code: "IO" });
    await expect((async () => disk.flush())()).rejects.toMatchObject({ code: "IO" });
  });

  test("is addressed as NBD's own programs do", () => {
    expect(parseNbdAddress("nbd://host")).toEqual({ at: { host: "host", port: 10809 }, exportName: "" });
    expect(parseNbdAddress("nbd://[::1]:99/a/b")).toEqual({ at: { host: "::1", port: 99 }, exportName: "a/b" });
    expect(parseNbdAddress("nbd+unix:///x?socket=/a%20b")).toEqual({ at: { path: "/a b" }, exportName: "x" });
    for (const wrong of ["nbd+unix:///x", "nbd:", "file:///x", "nonsense"])
      expect(() => parseNbdAddress(wrong)).toThrow(expect.objectContaining({ code: "BAD_ARGUMENT" }));
    expect(() => parseNbdAddress("nbds://host")).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
});
