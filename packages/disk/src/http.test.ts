import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CONTRACT_SECTORS, diskContract, pattern, same } from "../test/disk-contract.ts";
import { lastingFile } from "../test/files.ts";
import { createQcow2, memoryFile, openHttpFile, openQcow2, overlayDisk, rawDisk } from "./index.ts";

let server: Server;
let base: string;
const requests: string[] = [];
/** What is served, by path; each with a tag and what goes wrong with it. */
const files = new Map<string, { bytes: Uint8Array; tag: string; failures?: number; noRanges?: true; cut?: true }>();

beforeAll(async () => {
  server = createServer((request, response) => {
    const file = files.get(request.url ?? "");
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    requests.push(request.headers.range ?? "");
    if (file === undefined) {
      response.writeHead(404).end();
      return;
    }
    if ((file.failures ?? 0) > 0) {
      file.failures!--;
      response.destroy();
      return;
    }
    if (range === null || file.noRanges === true) {
      response.writeHead(200).end(file.bytes);
      return;
    }
    const [from, to] = [Number(range[1]), Math.min(Number(range[2]) + 1, file.bytes.length)];
    const body = file.bytes.subarray(from, file.cut === true && to - from > 1 ? to - 1 : to);
    response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${file.bytes.length}`, etag: file.tag });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  base = `http://127.0.0.1:${typeof address === "object" ? address!.port : 0}`;
  files.set("/zeros", { bytes: new Uint8Array(CONTRACT_SECTORS * 512), tag: "z" });
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

diskContract(
  "an overlay over a file on a web server",
  async () => ({ disk: overlayDisk(rawDisk(await openHttpFile(`${base}/zeros`, { fetch, cacheSize: 1 << 20 }))) }),
  { runs: 4 },
);

describe("a file on a web server", () => {
  test("is fetched in pieces, each once", async () => {
    const bytes = pattern(3_000_000, 1);
    files.set("/once", { bytes, tag: "1" });
    const file = await openHttpFile(`${base}/once`, { fetch });
    expect(file).toMatchObject({ size: 3_000_000, readOnly: true });
    requests.length = 0;
    const back = new Uint8Array(700_000);
    await Promise.all([file.read(100, [back]), file.read(5000, [new Uint8Array(100)]), file.read(100, [back])]);
    await file.read(0, [new Uint8Array(300_000), new Uint8Array(400_000)]);
    expect(same(back, bytes.subarray(100, 700_100))).toBe(true);
    expect(new Set(requests).size).toBe(requests.length);
    expect(requests.length).toBeLessThanOrEqual(5);
    const end = new Uint8Array(1000).fill(1);
    await file.read(2_999_900, [end]);
    expect(same(end.subarray(0, 100), bytes.subarray(2_999_900))).toBe(true);
    expect(end.subarray(100).every((byte) => byte === 0)).toBe(true);
  });

  test("keeps no more than it may", async () => {
    files.set("/large", { bytes: pattern(2_000_000, 2), tag: "1" });
    const file = await openHttpFile(`${base}/large`, { fetch, pieceSize: 10_000, cacheSize: 50_000 });
    const piece = new Uint8Array(10_000);
    for (let at = 0; at < 2_000_000; at += 10_000) await file.read(at, [piece]);
    requests.length = 0;
    await file.read(0, [piece]);
    expect(requests).toContain("bytes=0-9999");
  });

  test("is asked again after a broken connection", async () => {
    const entry = { bytes: pattern(100_000, 3), tag: "1", failures: 0 };
    files.set("/broken", entry);
    const file = await openHttpFile(`${base}/broken`, { fetch });
    entry.failures = 2;
    const back = new Uint8Array(1000);
    await file.read(500, [back]);
    expect(same(back, entry.bytes.subarray(500, 1500))).toBe(true);
    entry.failures = 100;
    await expect(
      (async () => (await openHttpFile(`${base}/broken`, { fetch })).read(0, [back]))(),
    ).rejects.toMatchObject({
      code: "UNAVAILABLE",
    });
  });

  test("fails when it changed, came short, isn't there or has no ranges", async () => {
    const entry = { bytes: pattern(1_000_000, 4), tag: "1" };
    files.set("/changing", entry);
    const file = await openHttpFile(`${base}/changing`, { fetch });
    await file.read(0, [new Uint8Array(100)]);
    entry.tag = "2";
    await expect((async () => file.read(900_000, [new Uint8Array(100)]))()).rejects.toMatchObject({ code: "IO" });
    files.set("/cut", { bytes: entry.bytes, tag: "1", cut: true });
    const cut = await openHttpFile(`${base}/cut`, { fetch });
    await expect((async () => cut.read(0, [new Uint8Array(100)]))()).rejects.toMatchObject({ code: "IO" });
    await expect(openHttpFile(`${base}/nothing`, { fetch })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    files.set("/plain", { bytes: entry.bytes, tag: "1", noRanges: true });
    await expect(openHttpFile(`${base}/plain`, { fetch })).rejects.toMatchObject({ code: "UNSUPPORTED" });
    expect(() => file.write(0, [])).toThrow(expect.objectContaining({ code: "DENIED" }));
  });

  test("can be a qcow2 image", async () => {
    const bytes = pattern(1 << 20, 8);
    const image = lastingFile(memoryFile());
    await createQcow2(image, { size: 1 << 20 });
    const writer = await openQcow2(image);
    await writer.write(0, [bytes]);
    await writer.close?.();
    const content = new Uint8Array(image.size);
    await image.read(0, [content]);
    files.set("/image.qcow2", { bytes: content, tag: "q" });
    const remote = await openQcow2(await openHttpFile(`${base}/image.qcow2`, { fetch }));
    const back = new Uint8Array(1 << 20);
    await remote.read(0, [back]);
    expect(same(back, bytes)).toBe(true);
    expect(remote.readOnly).toBe(true);
    await remote.close?.();
  });
});
