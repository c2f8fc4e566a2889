import type { Disk } from "@paravirt/core";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";

/** A disk to be tested, and what the maker has beside it. */
export interface Subject {
  /** Writable, at least {@link CONTRACT_SECTORS} long, all zeros. */
  readonly disk: Disk;
  /** Opens the same disk again after it was closed. Missing: what it holds ends with it. */
  reopen?(): Promise<Disk>;
  /** Takes away what belongs to the test; the disk is closed by then. */
  clean?(): Promise<void> | void;
}

/** The size of a subject, in sectors: no whole number of clusters of any size but 512 and 1024. */
export const CONTRACT_SECTORS: number = 8192 * 3 + 6;
const BYTES = CONTRACT_SECTORS * 512;

/** Lengths that are interesting somewhere: sectors, pages, clusters, one more and one less. */
const COUNTS = [1, 2, 7, 8, 9, 16, 63, 127, 128, 129, 200, 1024, 4097];

/** What every disk must do; `make` makes a new one for each test. */
export function diskContract(
  name: string,
  make: () => Promise<Subject>,
  options: { readonly runs?: number } = {},
): void {
  describe(`${name} as a disk`, () => {
    const open: { subject: Subject; disk: Disk; closed: boolean }[] = [];
    const start = async (): Promise<{ subject: Subject; disk: Disk; closed: boolean; unit: number }> => {
      const subject = await make();
      const one = { subject, disk: subject.disk, closed: false, unit: (subject.disk.sectorSize ?? 512) / 512 };
      open.push(one);
      return one;
    };
    afterEach(async () => {
      for (const one of open.splice(0)) {
        if (!one.closed) await one.disk.close?.();
        await one.subject.clean?.();
      }
    });

    test("begins as zeros, with its size in whole sectors", async () => {
      const { disk, unit } = await start();
      expect(disk.sectors).toBe(CONTRACT_SECTORS - (CONTRACT_SECTORS % unit));
      expect(disk.readOnly).toBe(false);
      const bytes = new Uint8Array(65536).fill(0xee);
      await disk.read(8, [bytes]);
      expect(bytes.every((byte) => byte === 0)).toBe(true);
    });

    test("reads what was written, scattered over other buffers, and zeros around it", async () => {
      const { disk } = await start();
      const all = pattern(40 * 4096, 1);
      await disk.write(1000, [all.subarray(0, 4096), all.subarray(4096, 5 * 4096), all.subarray(5 * 4096)]);
      const whole = new Uint8Array(42 * 4096).fill(0xee);
      const buffers = [1, 5, 7, 11, 18].map((pages, at, list) => {
        const from = list.slice(0, at).reduce((sum, n) => sum + n, 0) * 4096;
        return whole.subarray(from, from + pages * 4096);
      });
      await disk.read(992, buffers);
      expect(same(whole.subarray(4096, 41 * 4096), all)).toBe(true);
      expect(whole.subarray(0, 4096).every((byte) => byte === 0)).toBe(true);
      expect(whole.subarray(41 * 4096).every((byte) => byte === 0)).toBe(true);
    });

    test("keeps what shares a cluster with a write", async () => {
      const { disk, unit } = await start();
      const first = pattern(512 * 256, 2);
      await disk.write(512, [first]);
      const patch = pattern(512 * unit, 3);
      await disk.write(512 + 8 * unit, [patch]);
      first.set(patch, 8 * unit * 512);
      const back = new Uint8Array(first.length);
      await disk.read(512, [back]);
      expect(same(back, first)).toBe(true);
    });

    test("reaches its last sector, and refuses what is past it", async () => {
      const { disk, unit } = await start();
      const last = pattern(512 * unit, 4);
      await disk.write(disk.sectors - unit, [last]);
      const back = new Uint8Array(512 * unit);
      await disk.read(disk.sectors - unit, [back]);
      expect(same(back, last)).toBe(true);
      const two = new Uint8Array(1024 * unit).fill(0xaa);
      for (const call of [() => disk.read(disk.sectors - unit, [two]), () => disk.write(disk.sectors - unit, [two])])
        await expect((async () => call())()).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
      expect(two.every((byte) => byte === 0xaa)).toBe(true);
      await disk.read(disk.sectors - unit, [back]);
      expect(same(back, last)).toBe(true);
    });

    test("refuses pieces of sectors and places before its beginning", async () => {
      const { disk } = await start();
      for (const [sector, bytes] of [
        [0, 100],
        [-1, 512],
        [0.5, 512],
        [Number.NaN, 512],
      ] as const) {
        await expect((async () => disk.read(sector, [new Uint8Array(bytes)]))()).rejects.toMatchObject({
          code: "BAD_ARGUMENT",
        });
        await expect((async () => disk.write(sector, [new Uint8Array(bytes)]))()).rejects.toMatchObject({
          code: "BAD_ARGUMENT",
        });
      }
    });

    test("takes requests of nothing", async () => {
      const { disk } = await start();
      await disk.read(0, []);
      await disk.write(disk.sectors, []);
      await disk.flush();
      await disk.flush();
    });

    test("makes sectors zeros, and discarded ones zeros or what they were", async () => {
      const { disk } = await start();
      const model = pattern(512 * 1024, 5);
      await disk.write(0, [model]);
      if (disk.writeZeroes !== undefined) {
        await disk.writeZeroes(72, 536);
        model.fill(0, 72 * 512, 608 * 512);
      }
      const back = new Uint8Array(model.length);
      await disk.read(0, [back]);
      expect(same(back, model)).toBe(true);
      await disk.discard?.(640, 320);
      await disk.read(0, [back]);
      expect(same(back.subarray(0, 640 * 512), model.subarray(0, 640 * 512))).toBe(true);
      expect(same(back.subarray(960 * 512), model.subarray(960 * 512))).toBe(true);
      for (let at = 640 * 512; at < 960 * 512; at++)
        if (back[at] !== 0 && back[at] !== model[at])
          throw new Error(`byte ${at} is ${back[at]}, neither old nor zero`);
    });

    test("serves many requests at once, within one cluster too", async () => {
      const { disk, unit } = await start();
      const model = new Uint8Array(512 * 2048);
      const answers: (void | Promise<void>)[] = [];
      for (let n = 0; n < 2048 / (unit * 4); n++) {
        const at = ((n * 37) % (2048 / (unit * 4))) * unit * 4;
        const bytes = pattern(512 * unit * 3, n);
        model.set(bytes, at * 512);
        answers.push(disk.write(at, [bytes]));
        if (n % 50 === 0) answers.push(disk.flush());
      }
      await Promise.all(answers);
      const back = new Uint8Array(model.length);
      await Promise.all(
        Array.from({ length: 64 }, (_, n) => disk.read(n * 32, [back.subarray(n * 32 * 512, (n + 1) * 32 * 512)])),
      );
      expect(same(back, model)).toBe(true);
    });

    test("behaves like a plain piece of memory, whatever is done in which order", { timeout: 300_000 }, async () => {
      const place = fc.record({ sector: fc.nat(CONTRACT_SECTORS - 1), count: fc.constantFrom(...COUNTS) });
      const step = fc.oneof(
        { weight: 6, arbitrary: fc.record({ do: fc.constant("write" as const), at: place, seed: fc.nat(255) }) },
        { weight: 3, arbitrary: fc.record({ do: fc.constant("read" as const), at: place }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant("zero" as const), at: place }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant("reopen" as const) }) },
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
          const one = await start();
          const model = new Uint8Array(BYTES);
          for (const action of steps) {
            if (action.do === "flush") await one.disk.flush();
            else if (action.do === "reopen") {
              if (one.subject.reopen === undefined) continue;
              await one.disk.close?.();
              one.disk = await one.subject.reopen();
            } else {
              const place = action.at.sector % one.disk.sectors;
              const sector = place - (place % one.unit);
              const most = Math.min(action.at.count, one.disk.sectors - sector);
              const count = most < one.unit ? one.unit : most - (most % one.unit);
              const part = model.subarray(sector * 512, (sector + count) * 512);
              if (action.do === "write") {
                part.set(pattern(part.length, action.seed));
                await one.disk.write(sector, [part.slice(0, 512), part.slice(512)]);
              } else if (action.do === "zero") {
                if (one.disk.writeZeroes === undefined) continue;
                part.fill(0);
                await one.disk.writeZeroes(sector, count);
              } else {
                const back = new Uint8Array(part.length);
                await one.disk.read(sector, [back]);
                if (!same(back, part)) throw new Error(`sectors ${sector} to ${sector + count} differ`);
              }
            }
          }
          const back = new Uint8Array(one.disk.sectors * 512);
          await one.disk.read(0, [back]);
          if (!same(back, model.subarray(0, back.length))) throw new Error("the disk differs at the end");
          await one.disk.close?.();
          one.closed = true;
          await one.subject.clean?.();
          open.splice(open.indexOf(one), 1);
        }),
        { numRuns: options.runs ?? 8 },
      );
    });
  });
}

/** Bytes that depend on their place, so that a sector in the wrong place shows. */
export function pattern(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = (at >> 9) * 7 + at * 3 + seed * 31 + 1;
  return bytes;
}

/** Whether two pieces of memory hold the same. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
