import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { openRecordLog } from "./record-log.ts";

const fails = vi.hoisted(() => ({ write: undefined as ((descriptor: number) => string | undefined) | undefined }));

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  return {
    ...fs,
    write: (descriptor: number, ...rest: unknown[]) => {
      const message = fails.write?.(descriptor);
      if (message === undefined) (fs.write as (...all: unknown[]) => void)(descriptor, ...rest);
      else (rest.at(-1) as (error: Error) => void)(new Error(message));
    },
  };
});

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "record-log-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

test("a write that fails is told once, and nothing is called durable any more even when the disk works again", async () => {
  const errors: string[] = [];
  const path = join(folder, "log");
  const log = openRecordLog(path, { onError: (error) => errors.push(`${error.code} ${error.message}`) });
  let durable = 0;
  log.onDurable((count) => {
    durable = count;
  });
  fails.write = () => "EIO: i/o error";
  log.append(Uint8Array.of(1));
  await soon();
  fails.write = undefined;
  log.append(Uint8Array.of(2));
  await soon();
  expect(errors).toEqual([`IO ${path} can't be written: EIO: i/o error`]);
  expect(durable).toBe(0);
  await log.close();
});

test("a compaction for which there is no room is given up, and appending goes on", async () => {
  const path = join(folder, "full");
  const log = openRecordLog(path, {
    compactFrom: 100,
    onError: (error) => {
      throw error;
    },
  });
  let first: number | undefined;
  // The log's own descriptor is the first that is written.
  fails.write = (descriptor) => {
    first ??= descriptor;
    return descriptor === first ? undefined : "ENOSPC: no space left on device";
  };
  log.compactWith(() => [new Uint8Array(10)]);
  let durable = 0;
  log.onDurable((count) => {
    durable = count;
  });
  for (let at = 0; at < 20; at++) {
    log.append(new Uint8Array(50));
    await soon();
  }
  fails.write = undefined;
  expect(durable).toBe(20);
  expect(readdirSync(folder)).not.toContain("full.new");
  await log.close();
  const again = openRecordLog(path, { onError: () => {} });
  expect(again.takeRecords()).toHaveLength(20);
  await again.close();
});
