import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openRecordLog, type RecordLog, type RecordLogOptions } from "./record-log.ts";
import { encodeFrame, LOG_HEADER_SIZE } from "./record-log-format.ts";

let folder: string;
let files = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "record-log-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const newFile = (): string => join(folder, `log-${++files}`);
const open = (path: string, options: Partial<RecordLogOptions> = {}): RecordLog =>
  openRecordLog(path, {
    onError: (error) => {
      throw error;
    },
    ...options,
  });
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const texts = (log: RecordLog): string[] => log.takeRecords().map((record) => new TextDecoder().decode(record));

/** Appends and waits until all is durable. */
function append(log: RecordLog, records: readonly string[], before = 0): Promise<void> {
  return new Promise((resolve) => {
    log.onDurable((count) => {
      if (count === before + records.length) resolve();
    });
    for (const record of records) log.append(bytes(record));
  });
}

test("what was durable is there again, in order, after any number of openings", async () => {
  const path = newFile();
  for (let round = 0; round < 3; round++) {
    const log = open(path);
    expect(texts(log)).toEqual(Array.from({ length: round * 2 }, (_, at) => `record ${at}`));
    await append(log, [`record ${round * 2}`, `record ${round * 2 + 1}`]);
    await log.close();
  }
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("the file is open for synced writes, before and after a compaction: what write() answered is on the disk", async () => {
  const path = newFile();
  const log = open(path, { compactFrom: 200 });
  log.compactWith(() => [bytes("snapshot")]);
  const O_DSYNC = 0o10000; // asm-generic/fcntl.h
  const openFlags = (): [name: string, synced: boolean][] =>
    readdirSync("/proc/self/fd").flatMap((name) => {
      try {
        const target = readlinkSync(`/proc/self/fd/${name}`);
        const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${name}`, "utf8"))![1]!;
        const isLog = target.startsWith(path) && !target.endsWith(".lock");
        return isLog ? [[target, (Number.parseInt(flags, 8) & O_DSYNC) !== 0]] : [];
      } catch {
        return []; // Descriptors come and go while they are listed.
      }
    });
  expect(openFlags()).toEqual([[path, true]]);
  const { ino } = statSync(path);
  for (let at = 0; statSync(path).ino === ino; at++) await append(log, ["x".repeat(50)], at);
  // The compaction's own descriptors are closed a little later.
  while (openFlags().length !== 1) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(openFlags()).toEqual([[path, true]]);
  await log.close();
});

test("records of one turn share a frame, and what is appended meanwhile the next one", async () => {
  const path = newFile();
  const log = open(path);
  const told: number[] = [];
  log.onDurable((count) => {
    told.push(count);
    if (told.length === 1) for (let at = 0; at < 5; at++) log.append(bytes("later"));
  });
  for (let at = 0; at < 100; at++) log.append(bytes("first"));
  while (told.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  await log.close();
  expect(told).toEqual([100, 105]);
});

test("a frame that ends too early, anywhere, is cut off; everything before it stays", async () => {
  const path = newFile();
  const log = open(path);
  await append(log, ["one"]);
  const whole = statSync(path).size;
  await append(log, ["two", "three"], 1);
  await log.close();
  const all = readFileSync(path);
  for (let length = whole; length < all.length; length++) {
    const cut = newFile();
    writeFileSync(cut, all.subarray(0, length));
    const again = open(cut);
    expect(texts(again)).toEqual(["one"]);
    expect(again.unfinished).toBe(length - whole);
    await append(again, ["after"]);
    await again.close();
    const last = open(cut);
    expect(texts(last)).toEqual(["one", "after"]);
    await last.close();
  }
});

test("any changed byte is noticed: the last frame is dropped, damage before it refuses the file and leaves it alone", async () => {
  const path = newFile();
  const log = open(path);
  await append(log, ["one"]);
  const first = statSync(path).size;
  await append(log, ["two"], 1);
  await log.close();
  const all = readFileSync(path);
  for (let at = LOG_HEADER_SIZE; at < all.length; at++) {
    const changed = newFile();
    const copy = Uint8Array.from(all);
    copy[at] = copy[at]! ^ 0x41;
    writeFileSync(changed, copy);
    if (at < first) {
      expect(() => open(changed)).toThrow(`is damaged from byte ${LOG_HEADER_SIZE} on, and byte ${first} begins`);
      expect(readFileSync(changed)).toEqual(Buffer.from(copy));
    } else {
      const again = open(changed);
      expect(texts(again)).toEqual(["one"]);
      await again.close();
    }
  }
});

test("zeros at the end, as a file system leaves them after a power cut, are cut off", async () => {
  const path = newFile();
  const log = open(path);
  await append(log, ["one"]);
  await log.close();
  writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.alloc(5000)]));
  const again = open(path);
  expect([texts(again), again.unfinished]).toEqual([["one"], 5000]);
  await again.close();
});

test("a record that looks like a frame doesn't make a torn one look damaged", async () => {
  const path = newFile();
  const log = open(path);
  await append(log, ["one"]);
  const whole = statSync(path).size;
  await new Promise<void>((resolve) => {
    log.onDurable(() => resolve());
    log.append(encodeFrame(0, 3, [bytes("planted by a guest")]));
    log.append(bytes("end"));
  });
  await log.close();
  writeFileSync(path, readFileSync(path).subarray(0, -1));
  const again = open(path);
  expect(texts(again)).toEqual(["one"]);
  expect(statSync(path).size).toBe(whole);
  await again.close();
});

test("a second opener is refused while the first has it, and then not", async () => {
  const path = newFile();
  const log = open(path);
  expect(() => open(path)).toThrow("is in use by another program");
  await log.close();
  await open(path).close();
});

test("another file, an unreachable one and a folder are refused by name", () => {
  const path = newFile();
  writeFileSync(path, "some text that is long enough to be a header");
  expect(() => open(path)).toThrow(`${path} is not a log of paravirt, version 1`);
  expect(() => open(join(folder, "none", "log"))).toThrow("can't be opened: ENOENT");
  expect(() => open(folder)).toThrow("can't be opened: EISDIR");
});

test("an empty file becomes a log, and one behind a symbolic link stays behind it", async () => {
  const path = newFile();
  writeFileSync(path, "");
  symlinkSync(path, `${path}-link`);
  const log = open(`${path}-link`, { compactFrom: 1 });
  log.compactWith(() => [bytes("snapshot")]);
  await append(log, ["one"]);
  await log.close();
  const again = open(path);
  expect(texts(again).at(-1)).toMatch(/one|snapshot/);
  await again.close();
});

test("compaction keeps the newest state while appending goes on, and the file small", async () => {
  const path = newFile();
  const state = new Map<string, string>();
  const log = open(path, { compactFrom: 20_000 });
  log.compactWith(() => [...state].map(([key, value]) => bytes(`${key}=${value}`)));
  let durable = 0;
  let appended = 0;
  log.onDurable((count) => {
    durable = count;
  });
  let largest = 0;
  for (let round = 0; round < 300; round++) {
    for (let at = 0; at < 20; at++) {
      const [key, value] = [`key-${at * 7}`, `${round}`.padEnd(30)];
      state.set(key, value);
      log.append(bytes(`${key}=${value}`));
      appended++;
    }
    if (round % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    largest = Math.max(largest, statSync(path).size);
  }
  await log.close();
  expect(durable).toBe(appended);
  expect(largest).toBeLessThan(appended * 42);
  const again = open(path);
  const replayed = new Map(texts(again).map((text) => text.split("=") as [string, string]));
  expect(replayed).toEqual(state);
  await again.close();
  expect(readdirSync(folder).filter((name) => name.endsWith(".new"))).toEqual([]);
});

test("every state of the file that a compaction goes through opens as the whole", async () => {
  const path = newFile();
  const state = new Map<string, string>();
  const log = open(path, { compactFrom: 500 });
  log.compactWith(() => [...state].map(([key, value]) => bytes(`${key}=${value}`)));
  for (let round = 0; round < 60; round++) {
    state.set(`key-${round % 5}`, String(round));
    await append(log, [`key-${round % 5}=${round}`], round);
    const copy = newFile();
    copyFileSync(path, copy);
    const again = open(copy);
    expect(new Map(texts(again).map((text) => text.split("=") as [string, string]))).toEqual(state);
    await again.close();
  }
  await log.close();
});
