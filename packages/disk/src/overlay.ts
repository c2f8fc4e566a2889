import type { Disk } from "@paravirt/core";
import { run, type Steps, settled, Turns } from "./answer.ts";
import { type BlockFile, gather, sliceBuffers, totalBytes, zeroBuffers } from "./block-file.ts";
import { memoryFile } from "./memory-file.ts";
import { checkRange, checkWritable, SECTOR } from "./range.ts";

/** Where an overlay keeps what was written. */
export interface OverlayOptions {
  /** An empty file for it, which the overlay closes; memory when left out. */
  readonly store?: BlockFile;
}

/** A disk whose writes don't reach its base. */
export interface OverlayDisk extends Disk {
  /** Bytes that differ from the base, in whole pieces of 4096. */
  readonly changedBytes: number;
  /** Writes everything that differs to the base, flushes that, and begins anew. Throws `DENIED` on a read-only base. */
  commit(): Promise<void>;
}

const PIECE = 4096;
const PIECE_SECTORS = PIECE / SECTOR;
const PER_TABLE = 1024;
/** In place of a slot: nothing here, or zeros. Slots count from 1. */
const ABSENT = 0;
const ZERO = -1;

/**
 * A copy-on-write disk: reads show `base` until something was written, writes go to `options.store`. The base is only read,
 * so several overlays can share it. Nothing outlives {@link @paravirt/core!Disk.close}, which closes the base as well.
 */
export function overlayDisk(base: Disk, options: OverlayOptions = {}): OverlayDisk {
  const store = options.store ?? memoryFile();
  const tables = new Map<number, Int32Array>();
  const turns = new Turns();
  const freeSlots: number[] = [];
  // Fixed: a base that grows doesn't change what the overlay is.
  const sectors = base.sectors;
  let nextSlot = 1;
  let changed = 0;

  const slotOf = (piece: number): number => tables.get(Math.floor(piece / PER_TABLE))?.[piece % PER_TABLE] ?? ABSENT;
  const setSlot = (piece: number, slot: number): void => {
    const index = Math.floor(piece / PER_TABLE);
    let table = tables.get(index);
    if (table === undefined) {
      table = new Int32Array(PER_TABLE);
      tables.set(index, table);
    }
    const old = table[piece % PER_TABLE]!;
    if (old > 0) freeSlots.push(old);
    changed += (slot === ABSENT ? 0 : 1) - (old === ABSENT ? 0 : 1);
    table[piece % PER_TABLE] = slot;
  };

  function* read(sector: number, into: readonly Uint8Array[], length: number): Steps<void> {
    for (let done = 0; done < length; ) {
      const at = sector * SECTOR + done;
      const piece = Math.floor(at / PIECE);
      const skip = at % PIECE;
      const slot = slotOf(piece);
      let count = 1;
      const most = Math.ceil((skip + length - done) / PIECE);
      while (count < most && slotOf(piece + count) === (slot > 0 ? slot + count : slot)) count++;
      const bytes = Math.min(count * PIECE - skip, length - done);
      const part = sliceBuffers(into, done, bytes);
      if (slot === ABSENT) yield* settled(base.read(at / SECTOR, part));
      else if (slot === ZERO) zeroBuffers(part);
      else yield* settled(store.read((slot - 1) * PIECE + skip, part));
      done += bytes;
    }
  }

  function* write(sector: number, from: readonly Uint8Array[]): Steps<void> {
    const length = totalBytes(from);
    for (let done = 0; done < length; ) {
      const at = sector * SECTOR + done;
      const piece = Math.floor(at / PIECE);
      const skip = at % PIECE;
      const slot = slotOf(piece);
      const isWhole = skip === 0 && length - done >= PIECE;
      if (slot <= 0 && !isWhole) {
        const bytes = Math.min(PIECE - skip, length - done);
        yield* mix(piece, skip, sliceBuffers(from, done, bytes));
        done += bytes;
        continue;
      }
      // Slots in a row: either there already, or new ones for whole pieces.
      const most = slot > 0 ? Math.ceil((skip + length - done) / PIECE) : Math.floor((length - done) / PIECE);
      let count = 1;
      if (slot > 0) while (count < most && slotOf(piece + count) === slot + count) count++;
      else if (freeSlots.length === 0) while (count < most && slotOf(piece + count) <= 0) count++;
      const first = slot > 0 ? slot : (freeSlots.pop() ?? nextSlot);
      if (slot <= 0 && first === nextSlot) nextSlot += count;
      const bytes = Math.min(count * PIECE - skip, length - done);
      yield* settled(store.write((first - 1) * PIECE + skip, sliceBuffers(from, done, bytes)));
      if (slot <= 0) for (let n = 0; n < count; n++) setSlot(piece + n, first + n);
      done += bytes;
    }
  }

  /** Writes part of a piece that has no slot: the rest comes from below. */
  function* mix(piece: number, skip: number, from: readonly Uint8Array[]): Steps<void> {
    const whole = new Uint8Array(PIECE);
    const there = Math.min(PIECE, sectors * SECTOR - piece * PIECE);
    yield* read(piece * PIECE_SECTORS, [whole.subarray(0, there)], there);
    whole.set(gather(from), skip);
    const slot = freeSlots.pop() ?? nextSlot++;
    yield* settled(store.write((slot - 1) * PIECE, [whole]));
    setSlot(piece, slot);
  }

  function* zero(sector: number, count: number): Steps<void> {
    const first = Math.ceil(sector / PIECE_SECTORS);
    const end = sector + count;
    const last = end === sectors ? Math.ceil(end / PIECE_SECTORS) : Math.floor(end / PIECE_SECTORS);
    const writeZeros = (from: number, to: number) => write(from, [new Uint8Array((to - from) * SECTOR)]);
    if (last <= first) {
      yield* writeZeros(sector, end);
      return;
    }
    if (sector < first * PIECE_SECTORS) yield* writeZeros(sector, first * PIECE_SECTORS);
    for (let piece = first; piece < last; piece++) setSlot(piece, ZERO);
    if (last * PIECE_SECTORS < end) yield* writeZeros(last * PIECE_SECTORS, end);
  }

  const disk: OverlayDisk = {
    sectors,
    sectorSize: base.sectorSize ?? 512,
    readOnly: false,
    get changedBytes() {
      return changed * PIECE;
    },
    read(sector, into) {
      const length = totalBytes(into);
      checkRange(disk, sector, length);
      return run(read(sector, into, length));
    },
    write(sector, from) {
      checkRange(disk, sector, totalBytes(from));
      return turns.run(() => write(sector, from));
    },
    flush: () => store.flush(),
    writeZeroes(sector, count) {
      checkRange(disk, sector, count * SECTOR);
      return turns.run(() => zero(sector, count));
    },
    discard(sector, count) {
      checkRange(disk, sector, count * SECTOR);
      const first = Math.ceil(sector / PIECE_SECTORS) * PIECE_SECTORS;
      const last = Math.floor((sector + count) / PIECE_SECTORS) * PIECE_SECTORS;
      if (last > first) return turns.run(() => zero(first, last - first));
    },
    async commit() {
      checkWritable(base);
      await turns.run(function* () {
        const bytes = new Uint8Array(PIECE);
        for (const [index, table] of tables)
          for (let n = 0; n < PER_TABLE; n++) {
            if (table[n] === ABSENT) continue;
            const sector = (index * PER_TABLE + n) * PIECE_SECTORS;
            const part = bytes.subarray(0, Math.min(PIECE, (sectors - sector) * SECTOR));
            yield* read(sector, [part], part.length);
            yield* settled(base.write(sector, [part]));
          }
        yield* settled(base.flush());
        tables.clear();
        freeSlots.length = 0;
        nextSlot = 1;
        changed = 0;
        yield* settled(store.truncate(0));
      });
    },
    async close() {
      await store.close();
      await base.close?.();
    },
  };
  return disk;
}
