import { ParavirtError } from "@paravirt/core";
import type { Engine } from "../engine.ts";

const PRESENT_USER = 5n;
const WRITABLE = 2n;
const NO_EXECUTE = 1n << 63n;
const PAGE = 4096;
const MASK_48 = 0xffffffffffffn;
/** Pages of one case. */
export const MAX_PAGES = 1024;
/** Page tables that one case may need, beside the root. */
const CASE_TABLES = 3 * MAX_PAGES;
/** Frames for the user of {@link AddressSpace.newFrame}. */
const SPARE_FRAMES = 4;
/** Memory that {@link AddressSpace} needs: tables for the pages of a case, and as many that are left from earlier ones. */
export const ADDRESS_SPACE_BYTES: number = (MAX_PAGES + SPARE_FRAMES + 1 + 2 * CASE_TABLES) * PAGE;

/** A page that is mapped now. */
export interface MappedPage {
  readonly at: bigint;
  /** Machine frame that holds its bytes. */
  readonly frame: number;
  /** Where its leaf entry is, as an index into memory's quads. */
  readonly entry: number;
  /** Leaf entry as last written, accessed and dirty bits left out. */
  leaf: bigint;
  /** What the bytes were before the instruction. */
  readonly image: Uint8Array;
  /** The same as 32-bit words. */
  readonly imageWords: Uint32Array;
  /** The number of the case that uses it. */
  turn: number;
}

/** Page tables of one user address space, kept from case to case so that only what differs is touched. */
export class AddressSpace {
  readonly root: number;
  private readonly engine: Engine;
  private readonly owner: number;
  private readonly pages = new Map<bigint, MappedPage>();
  private readonly freePages: Pick<MappedPage, "frame" | "image" | "imageWords">[] = [];
  private nextFrame: number;
  private readonly firstTable: number;
  private nextTable: number;
  private turn = 0;

  constructor(engine: Engine, owner: number) {
    this.engine = engine;
    this.owner = owner;
    this.nextFrame = engine.memory.firstFrame;
    this.firstTable = this.nextFrame + MAX_PAGES + SPARE_FRAMES;
    this.nextTable = this.firstTable;
    this.root = this.newTable();
  }

  /** A frame for the caller's own use. */
  newFrame(): number {
    this.engine.frames.setOwner(this.nextFrame, this.owner);
    return this.nextFrame++;
  }

  private newTable(): number {
    const frame = this.nextTable++;
    this.engine.frames.setOwner(frame, this.owner);
    return frame;
  }

  /** Starts a case: pages that it doesn't name are unmapped by {@link AddressSpace.finish}. */
  begin(): void {
    this.turn++;
    if (this.nextTable - this.firstTable <= CASE_TABLES) return;
    // Tables are never freed one by one: when a case might not find room, all but the root go.
    this.unmapOld();
    const { memory, tlb } = this.engine;
    memory.quads.fill(0n, this.firstTable * 512, this.nextTable * 512);
    this.nextTable = this.firstTable + 1;
    tlb.flushAll();
  }

  /** The page at `at` if this case has named it. */
  find(at: bigint): MappedPage | undefined {
    const page = this.pages.get(at);
    return page?.turn === this.turn ? page : undefined;
  }

  /** Maps a page for this case with `data` at its start and zeros behind it. */
  map(at: bigint, data: Uint8Array, writable: boolean): MappedPage {
    const page = this.pages.get(at) ?? this.addPage(at);
    page.turn = this.turn;
    page.image.set(data);
    page.image.fill(0, data.length);
    this.setLeaf(page, (BigInt(page.frame) << 12n) | PRESENT_USER | (writable ? WRITABLE : 0n));
    return page;
  }

  private newPage(): Pick<MappedPage, "frame" | "image" | "imageWords"> {
    const image = new Uint8Array(PAGE);
    return { frame: this.newFrame(), image, imageWords: new Uint32Array(image.buffer) };
  }

  private addPage(at: bigint): MappedPage {
    if (this.pages.size >= MAX_PAGES) this.unmapOld();
    if (this.pages.size >= MAX_PAGES) throw new ParavirtError("OUT_OF_RANGE", `more than ${MAX_PAGES} pages in a case`);
    const page = {
      ...(this.freePages.pop() ?? this.newPage()),
      at,
      entry: this.leafEntry(at),
      leaf: 0n,
      turn: this.turn,
    };
    this.pages.set(at, page);
    return page;
  }

  /** Unmaps what this case has not named, and lays every page's image into its frame. */
  finish(): void {
    let stale = false;
    for (const page of this.pages.values()) if (page.turn !== this.turn) stale = true;
    if (stale) this.unmapOld();
    const { bytes } = this.engine.memory;
    for (const page of this.pages.values()) bytes.set(page.image, page.frame * PAGE);
  }

  private unmapOld(): void {
    for (const [at, page] of this.pages) {
      if (page.turn === this.turn) continue;
      this.setLeaf(page, 0n);
      this.pages.delete(at);
      this.freePages.push(page);
    }
  }

  /** This case's pages in order of address. */
  sorted(): MappedPage[] {
    return [...this.pages.values()].sort((a, b) => (a.at < b.at ? -1 : 1));
  }

  /** Writes a leaf entry where it differs; the TLB forgets the page then. */
  private setLeaf(page: MappedPage, leaf: bigint): void {
    if (page.leaf === leaf) return;
    page.leaf = leaf;
    this.engine.memory.quads[page.entry] = leaf;
    this.engine.tlb.flushPage(page.at);
  }

  /** Leads fetches and page-table walks of `page` to `frame`, and makes every other page non-executable. */
  executeOnly(page: MappedPage, frame: number): void {
    for (const other of this.pages.values())
      this.setLeaf(other, other === page ? (other.leaf & 0xfffn) | (BigInt(frame) << 12n) : other.leaf | NO_EXECUTE);
  }

  private leafEntry(at: bigint): number {
    const { quads } = this.engine.memory;
    const address = at & MASK_48;
    let table = this.root;
    for (let level = 4; level > 1; level--) {
      const entry = table * 512 + Number((address >> BigInt(3 + level * 9)) & 511n);
      if (quads[entry] === 0n) quads[entry] = (BigInt(this.newTable()) << 12n) | PRESENT_USER | WRITABLE;
      table = Number(quads[entry]! >> 12n) & 0xfffff;
    }
    return table * 512 + Number((address >> 12n) & 511n);
  }
}
