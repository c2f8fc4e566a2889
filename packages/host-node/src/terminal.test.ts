import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import type { ReadStream, WriteStream } from "node:tty";
import { expect, test } from "vitest";
import { defaultCacheFolder } from "./cache.ts";
import { fileSink, nullSink, readSource, streamSink } from "./streams.ts";
import { openTerminal } from "./terminal.ts";

function fakeTerminal(): { input: ReadStream; output: WriteStream; raw: boolean[] } {
  const raw: boolean[] = [];
  const input = Object.assign(new PassThrough(), {
    isRaw: false,
    setRawMode(mode: boolean) {
      raw.push(mode);
      return this;
    },
  }) as unknown as ReadStream;
  const output = Object.assign(new PassThrough(), { columns: 100, rows: 30 }) as unknown as WriteStream;
  return { input, output, raw };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("keys go through untouched until Ctrl-], which leaves", async () => {
  const { input, output, raw } = fakeTerminal();
  const seen: number[] = [];
  let left = 0;
  const terminal = openTerminal({ input, output, onInput: (bytes) => seen.push(...bytes), onLeave: () => left++ });
  (input as unknown as PassThrough).write(Buffer.from([1, 3, 4, 0x1b, 0xff]));
  (input as unknown as PassThrough).write(Buffer.from([0x61, 0x1d, 0x62]));
  await turn();
  expect([seen, left]).toEqual([[1, 3, 4, 0x1b, 0xff, 0x61], 1]);
  expect([terminal.columns, terminal.rows]).toEqual([100, 30]);
  terminal.close();
  terminal.close();
  expect(raw).toEqual([true, false]);
});

test("a new size is told, and nothing is told after the end", async () => {
  const { input, output } = fakeTerminal();
  const sizes: number[][] = [];
  const terminal = openTerminal({
    input,
    output,
    onInput: () => {},
    onLeave: () => {},
    onResize: (c, r) => sizes.push([c, r]),
  });
  output.emit("resize");
  terminal.close();
  output.emit("resize");
  expect(sizes).toEqual([[100, 30]]);
  expect(process.listeners("SIGTERM").length).toBe(0);
});

test("a file sink writes at once, and names a file that it can't open", async () => {
  const folder = mkdtempSync(join(tmpdir(), "paravirt-sink-"));
  try {
    const path = join(folder, "out");
    const sink = fileSink(path);
    sink.write(Buffer.from("one"));
    sink.write(Buffer.from("two"));
    expect(readFileSync(path, "utf8")).toBe("onetwo");
    await sink.close();
    expect(() => fileSink(join(folder, "no", "such"))).toThrow(/no.such can't be written: ENOENT/);
  } finally {
    rmSync(folder, { recursive: true });
  }
  expect(nullSink.write(new Uint8Array(9))).toBe(true);
});

test("a stream sink copies what it is given, waits when asked, and goes silent when its reader does", async () => {
  const got: Buffer[] = [];
  const stream = new Writable({
    write(chunk, _, done) {
      got.push(chunk);
      setTimeout(done, 5);
    },
  });
  let closed = 0;
  const sink = streamSink(stream, () => closed++);
  const bytes = Uint8Array.of(1, 2, 3);
  sink.write(bytes);
  bytes.fill(0);
  await sink.flush();
  expect([...Buffer.concat(got)]).toEqual([1, 2, 3]);
  stream.destroy(new Error("EPIPE"));
  await turn();
  expect(sink.write(bytes)).toBe(true);
  await sink.flush();
  expect(closed).toBe(1);
});

test("a source gives bytes and its end once, and neither after it is closed", async () => {
  const stream = new PassThrough();
  const got: string[] = [];
  const source = readSource(
    stream,
    (bytes) => got.push(Buffer.from(bytes).toString()),
    () => got.push("end"),
  );
  stream.write("a");
  await turn();
  stream.end("b");
  await new Promise((resolve) => stream.on("close", resolve));
  expect(got).toEqual(["a", "b", "end"]);
  source.close();
  const other = new PassThrough();
  readSource(
    other,
    () => got.push("x"),
    () => got.push("x"),
  ).close();
  other.end("y");
  await turn();
  expect(got.length).toBe(3);
});

test("the cache folder follows XDG, and ignores a relative XDG_CACHE_HOME", () => {
  expect(defaultCacheFolder({ XDG_CACHE_HOME: "/x/c", HOME: "/h" })).toBe("/x/c/paravirt");
  expect(defaultCacheFolder({ XDG_CACHE_HOME: "c", HOME: "/h" })).toBe("/h/.cache/paravirt");
  expect(defaultCacheFolder({ HOME: "/h" })).toBe("/h/.cache/paravirt");
});
