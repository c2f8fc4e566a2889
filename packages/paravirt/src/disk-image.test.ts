import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isQcow2 } from "@paravirt/disk";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { openDisk } from "./devices/open-disk.ts";
import { main } from "./main.ts";

let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "paravirt-image-"));
  const content = new Uint8Array(3 << 20);
  for (let n = 0; n < 1 << 20; n++) content[n] = n >> 5;
  writeFileSync(at("content.raw"), content);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the command line; answers its status and what it said. */
async function paravirt(...words: string[]): Promise<{ status: number; output: string }> {
  let output = "";
  const take = (text: unknown, ...rest: unknown[]): boolean => {
    output += typeof text === "string" ? text : Buffer.from(text as Uint8Array).toString();
    for (const one of rest) if (typeof one === "function") one();
    return true;
  };
  const spies = [vi.spyOn(process.stdout, "write"), vi.spyOn(process.stderr, "write")];
  for (const spy of spies) spy.mockImplementation(take as never);
  try {
    return { status: await main(["image", ...words]), output };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

function qemu(...words: string[]): string {
  const result = spawnSync("qemu-img", words, { encoding: "utf8" });
  if (result.status !== 0) throw new Error(`qemu-img ${words.join(" ")}: ${result.stdout}${result.stderr}`);
  return result.stdout;
}

describe("paravirt image", () => {
  test("creates what QEMU takes, over a backing file too", async () => {
    expect(await paravirt("create", at("a.qcow2"), "5g", "--cluster-size", "4k")).toEqual({ status: 0, output: "" });
    expect(JSON.parse(qemu("info", "--output=json", at("a.qcow2")))).toMatchObject({
      "virtual-size": 5 * 2 ** 30,
      "cluster-size": 4096,
      format: "qcow2",
    });
    expect((await paravirt("create", "-b", "content.raw", "-F", "raw", at("b.qcow2"))).status).toBe(0);
    qemu("compare", "-f", "qcow2", "-F", "raw", at("b.qcow2"), at("content.raw"));
    expect((await paravirt("create", at("c.raw"), "1m")).status).toBe(0);
    expect(statSync(at("c.raw")).size).toBe(1 << 20);
  });

  test("converts there and back, compressed too", async () => {
    expect((await paravirt("convert", at("content.raw"), at("d.qcow2"))).status).toBe(0);
    expect((await paravirt("convert", "-c", at("d.qcow2"), at("e.qcow2"))).status).toBe(0);
    expect((await paravirt("convert", at("e.qcow2"), at("f.raw"))).status).toBe(0);
    expect(readFileSync(at("f.raw")).equals(readFileSync(at("content.raw")))).toBe(true);
    expect(statSync(at("e.qcow2")).size).toBeLessThan(statSync(at("d.qcow2")).size / 2);
    qemu("check", at("e.qcow2"));
    qemu("compare", at("e.qcow2"), at("d.qcow2"));
  });

  test("tells, checks, mends and resizes", async () => {
    await paravirt("convert", at("content.raw"), at("g.qcow2"));
    expect(JSON.parse((await paravirt("info", "--json", at("g.qcow2"))).output)).toMatchObject({
      format: "qcow2",
      version: 3,
      virtualSize: 3 << 20,
      clusterSize: 65536,
    });
    expect((await paravirt("info", at("content.raw"))).output).toContain("format: raw");
    expect(await paravirt("check", at("g.qcow2"))).toMatchObject({ status: 0 });
    // A count for a cluster that isn't there.
    const bytes = readFileSync(at("g.qcow2"));
    bytes[2 * 65536 + 401] = 1;
    writeFileSync(at("g.qcow2"), bytes);
    expect(await paravirt("check", at("g.qcow2"))).toMatchObject({ status: 3 });
    expect(await paravirt("check", "-r", "leaks", at("g.qcow2"))).toMatchObject({ status: 0 });
    qemu("check", at("g.qcow2"));
    expect((await paravirt("resize", at("g.qcow2"), "+1m")).status).toBe(0);
    expect(await paravirt("resize", at("g.qcow2"), "1m")).toMatchObject({ status: 2 });
    expect((await paravirt("resize", "--shrink", at("g.qcow2"), "1m")).status).toBe(0);
    expect(JSON.parse(qemu("info", "--output=json", at("g.qcow2")))["virtual-size"]).toBe(1 << 20);
  });

  test("says in a line what is wrong", async () => {
    for (const [words, said] of [
      [["create", at("x.qcow2")], /needs a size/],
      [["create", at("x.qcow2"), "lots"], /no size/],
      [["create", at("x.qcow2"), "1g", "--cluster-size", "1000"], /power of two/],
      [["create", at("x.raw"), "1g", "--cluster-size", "4k"], /raw image has none/],
      [["create", at("x.qcow2"), "-b", "content.raw"], /go together/],
      [["convert", at("missing.raw"), at("x.qcow2")], /can't be opened/],
      [["convert", at("content.raw"), at("content.raw")], /in use/],
      [["check", at("content.raw")], /only qcow2/],
    ] as const) {
      const { status, output } = await paravirt(...words);
      expect(output).toMatch(said);
      expect(status).toBe(2);
    }
    expect(existsSync(at("x.qcow2"))).toBe(false);
    expect(statSync(at("content.raw")).size).toBe(3 << 20);
  });
});

describe("openDisk", () => {
  test("believes a file's name and its bytes when they agree", async () => {
    await paravirt("create", at("named.qcow2"), "1m");
    const named = await openDisk({ source: at("named.qcow2") });
    expect(named).toMatchObject({ format: "qcow2", disk: { sectors: 2048 } });
    await named.close();
    writeFileSync(at("disguised.raw"), readFileSync(at("named.qcow2")));
    await expect(openDisk({ source: at("disguised.raw") })).rejects.toThrow(/say format=/);
    const raw = await openDisk({ source: at("disguised.raw"), format: "raw" });
    const first = new Uint8Array(512);
    await raw.disk.read(0, [first]);
    expect(isQcow2(first)).toBe(true);
    await raw.close();
    writeFileSync(at("empty.qcow2"), new Uint8Array(65536));
    await expect(openDisk({ source: at("empty.qcow2") })).rejects.toThrow(/no qcow2 image/);
  });

  test("leaves what is below an overlay as it is", async () => {
    const { disk, close } = await openDisk({ source: at("content.raw"), overlay: true });
    const before = readFileSync(at("content.raw"));
    await disk.write(0, [new Uint8Array(65536).fill(0xcc)]);
    const back = new Uint8Array(512);
    await disk.read(100, [back]);
    expect(back[0]).toBe(0xcc);
    await close();
    expect(readFileSync(at("content.raw")).equals(before)).toBe(true);
  });

  test("gives files up when opening fails, chains of backing files included", async () => {
    qemu("create", "-q", "-f", "qcow2", "-b", "content.raw", "-F", "raw", at("middle.qcow2"));
    qemu("create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", at("top.qcow2"));
    const { disk, close } = await openDisk({ source: at("top.qcow2") });
    const back = new Uint8Array(512);
    await disk.read(4, [back]);
    expect(back[0]).toBe((4 * 512) >> 5);
    await expect(openDisk({ source: at("middle.qcow2") })).rejects.toMatchObject({ code: "BUSY" });
    await close();
    await (await openDisk({ source: at("middle.qcow2") })).close();
    // Its own backing file.
    qemu("create", "-q", "-f", "qcow2", "-u", "-b", "loop.qcow2", "-F", "qcow2", at("loop.qcow2"), "1M");
    await expect(openDisk({ source: at("loop.qcow2"), readOnly: true })).rejects.toThrow(/more than 64 backing files/);
    await (await openDisk({ source: at("loop.qcow2"), format: "raw" })).close();
    await expect(openDisk({ source: "http://127.0.0.1:1/x.raw" })).rejects.toMatchObject({ code: "DENIED" });
    await expect(openDisk({ source: "nbd+unix:///x?socket=/nowhere" })).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});
