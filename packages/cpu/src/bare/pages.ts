import { ParavirtError } from "@paravirt/core";
import type { Engine } from "../vcpu.ts";

const PAGE = 4096;
const PRESENT_USER = 5n;
const WRITABLE = 2n;
const NO_EXECUTE = 1n << 63n;
const FRAME_MASK = 0xffffffffff000n;
const INDEX_MASK = 511n;
/** Half of the address space, user addresses with a four-level page table. */
const LIMIT = 1n << 47n;

/** What a program may do with pages; all of it when left out. */
export interface PageRights {
  /** Whether code may write to the pages; yes when left out. */
  readonly writable?: boolean;
  /** Whether code may be executed in them; yes when left out. */
  readonly executable?: boolean;
}

/** One address space with its page tables, made of the frames of an engine that nobody else uses. */
export class PageMap {
  readonly root: number;
  private readonly engine: Engine;
  private readonly owner: number;
  private nextFrame: number;
  private readonly freeFrames: number[] = [];

  constructor(engine: Engine, owner: number) {
    this.engine = engine;
    this.owner = owner;
    this.nextFrame = engine.memory.firstFrame;
    this.root = this.newFrame();
  }

  /** A frame full of zeros. */
  private newFrame(): number {
    const { memory, frames } = this.engine;
    const frame = this.freeFrames.pop() ?? this.nextFrame++;
    if (frame >= memory.frames)
      throw new ParavirtError(
        "OUT_OF_MEMORY",
        `the ${memory.frames - memory.firstFrame} frames of the machine are in use: give it more memoryBytes`,
      );
    memory.bytes.fill(0, frame * PAGE, (frame + 1) * PAGE);
    frames.setOwner(frame, this.owner);
    return frame;
  }

  /** Index of the leaf entry for `address` among memory's quads; -1 where a table is missing and none shall be made. */
  private leaf(address: bigint, make: boolean): number {
    const { quads } = this.engine.memory;
    let table = this.root;
    for (let level = 4n; level > 1n; level--) {
      const at = table * 512 + Number((address >> (3n + level * 9n)) & INDEX_MASK);
      if (quads[at] === 0n) {
        if (!make) return -1;
        quads[at] = BigInt(this.newFrame() * PAGE) | PRESENT_USER | WRITABLE;
      }
      table = Number((quads[at]! & FRAME_MASK) >> 12n);
    }
    return table * 512 + Number((address >> 12n) & INDEX_MASK);
  }

  private *pages(address: bigint, size: number): Generator<bigint> {
    if (!(size > 0) || address < 0n || address + BigInt(size) > LIMIT)
      throw new ParavirtError("OUT_OF_RANGE", `${size} bytes at 0x${address.toString(16)} are not within 0 to 2^47`);
    const end = address + BigInt(size);
    for (let page = address & -4096n; page < end; page += 4096n) yield page;
  }

  /** Maps every page that `size` bytes at `address` touch, with zeros where nothing was mapped. */
  map(address: bigint, size: number, rights: PageRights): void {
    const { quads } = this.engine.memory;
    for (const page of this.pages(address, size)) {
      const at = this.leaf(page, true);
      const frame = quads[at] === 0n ? BigInt(this.newFrame() * PAGE) : quads[at]! & FRAME_MASK;
      quads[at] = frame | flagsOf(rights);
      this.engine.tlb.flushPage(page);
    }
  }

  /** Takes pages away; what wasn't mapped stays so. */
  unmap(address: bigint, size: number): void {
    const { quads } = this.engine.memory;
    for (const page of this.pages(address, size)) {
      const at = this.leaf(page, false);
      if (at < 0 || quads[at] === 0n) continue;
      const frame = Number((quads[at]! & FRAME_MASK) >> 12n);
      quads[at] = 0n;
      this.engine.frames.forget(frame);
      this.freeFrames.push(frame);
    }
  }

  /** Machine address behind `address` whatever the rights; 0 where nothing is mapped. */
  machineAddress(address: bigint): number {
    const at = this.leaf(address, false);
    const entry = at < 0 ? 0n : this.engine.memory.quads[at]!;
    return entry === 0n ? 0 : Number(entry & FRAME_MASK) + Number(address & 4095n);
  }

  /** Calls `each` with machine address, offset and length of every piece of `size` bytes at `address`. */
  private forEachPiece(address: bigint, size: number, each: (at: number, offset: number, count: number) => void): void {
    for (let offset = 0; offset < size; ) {
      const at = this.machineAddress(address + BigInt(offset));
      if (at === 0)
        throw new ParavirtError("BAD_ARGUMENT", `nothing is mapped at 0x${(address + BigInt(offset)).toString(16)}`);
      const count = Math.min(size - offset, PAGE - (at & 4095));
      each(at, offset, count);
      offset += count;
    }
  }

  /** Copies mapped bytes out. */
  read(address: bigint, size: number): Uint8Array {
    const bytes = new Uint8Array(size);
    this.forEachPiece(address, size, (at, offset, count) => {
      bytes.set(this.engine.memory.bytes.subarray(at, at + count), offset);
    });
    return bytes;
  }

  /** Copies bytes into mapped pages, read-only ones too. */
  write(address: bigint, bytes: Uint8Array): void {
    this.forEachPiece(address, bytes.length, (at, offset, count) => {
      this.engine.memory.bytes.set(bytes.subarray(offset, offset + count), at);
      this.engine.frames.written(at >>> 12);
    });
  }
}

function flagsOf({ writable = true, executable = true }: PageRights): bigint {
  return PRESENT_USER | (writable ? WRITABLE : 0n) | (executable ? 0n : NO_EXECUTE);
}
