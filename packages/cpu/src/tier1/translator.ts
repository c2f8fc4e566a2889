/// <reference path="../webassembly.d.ts" />
import type { MachineMemory } from "@paravirt/core";
import { CodeEmitter, ModuleBuilder } from "@paravirt/wasm-emit";
import { type CodeCache, pageKey } from "../code-cache.ts";
import { HelperFunctions } from "../helpers.ts";
import { RECORD, REGION_ENTRY_BITS, STATE } from "../layout.ts";
import { isFloatSilent } from "../semantics/simd-float-inline.ts";
import type { HandlerTable } from "../tier0/handlers.ts";
import type { Selector } from "../tier0/select.ts";
import { collectRegion, type Graph, graphSize, instructionPlaces } from "./control-flow.ts";
import { UntranslatableError } from "./flag-forms.ts";
import { keysOfPlaces, PathMap, type PathTrace } from "./paths.ts";
import { emitRegion, type RegionPlace } from "./region.ts";
import type { RegionSource } from "./region-source.ts";

/** Samples at one place before it is translated. */
const THRESHOLD = 8;
/** Samples at a place for which it joins a region of its page that is translated anyway. */
const JOIN_THRESHOLD = 2;
/**
 * Samples after which all counts are halved: a place must have its share of the time. Flat code, as a kernel's, is found
 * everywhere a few times; entering regions of a few instructions each costs more than interpreting them.
 */
const DECAY_INTERVAL = 1000;
/** Most regions alive; beyond, all are dropped and the hot ones come back. V8 spends about 20 KiB on each module. */
const MAX_REGIONS = 3000;
/** Guest instructions that a region may hold. */
const REGION_LIMIT = 200;
/** A region that holds at most so many is translated anew together with what got hot beside it. */
const GROWING_LIMIT = 120;

/** Guest instructions that a region made from paths may hold, how many are worth one, and how many are translated after a trace. */
const PATH_LIMIT = 2000;
const SHORTEST_PATH = 6;
const TRACE_LIMIT = 24_000;
/** Share of a trace's instructions that regions made from paths have already, from which on none is made anew. */
const KNOWN_SHARE = 0.7;

/** A translated region. */
interface Region {
  readonly slot: number;
  /** Keys of the pages that its code is in. */
  readonly keys: readonly number[];
  readonly entries: readonly RegionEntry[];
  /** Whether it is of one page, made for hot places, and may be made anew with more of them. */
  readonly grows: boolean;
  /** Machine addresses of code for which it is made: a region with some of it takes its place after a trace. */
  readonly addresses: readonly number[];
  /** Offsets that were found hot and for which it was made. */
  readonly wanted: readonly number[];
  /** Guest instructions in it. */
  readonly size: number;
}

interface RegionEntry {
  readonly record: number;
  readonly number: number;
  /** What the record said before: its index in the main loop's table. */
  readonly hot: number;
}

/** What is known of a page with hot code. */
interface HotPage {
  /** How often the guest was found at an offset that is not translated. */
  readonly samples: Map<number, number>;
  /** Offsets whose code can't be translated. */
  readonly refused: Set<number>;
  regions: Region[];
}

/** Finds hot code by sampling where the guest is, translates it, and patches the records of the entries. */
export class Translator {
  private readonly memory: MachineMemory;
  private readonly wasm: WebAssembly.Memory;
  private readonly table: WebAssembly.Table;
  private readonly handlers: HandlerTable;
  private readonly selector: Selector;
  private readonly code: CodeCache;
  private readonly emitter = new CodeEmitter(1 << 15);
  /** By frame and mode. */
  private readonly pages = new Map<number, HotPage>();
  private readonly freeSlots: number[] = [];
  private live = 0;
  /** Regions made from paths. */
  private readonly paths = new Set<Region>();
  /** Samples since all counts were halved. */
  private sinceDecay = 0;
  translated = 0;
  bytes = 0;

  constructor(options: {
    memory: MachineMemory;
    wasm: WebAssembly.Memory;
    table: WebAssembly.Table;
    handlers: HandlerTable;
    selector: Selector;
    code: CodeCache;
  }) {
    this.memory = options.memory;
    this.wasm = options.wasm;
    this.table = options.table;
    this.handlers = options.handlers;
    this.selector = options.selector;
    this.code = options.code;
    this.code.onDrop = (mfn, mode) => this.drop(mfn, mode);
  }

  private pageOf(mfn: number, mode: 64 | 32): HotPage {
    const key = pageKey(mfn, mode);
    let page = this.pages.get(key);
    if (page === undefined) {
      page = emptyPage();
      this.pages.set(key, page);
    }
    return page;
  }

  private decay(): void {
    this.sinceDecay = 0;
    for (const { samples } of this.pages.values())
      for (const [offset, count] of samples)
        if (count > 1) samples.set(offset, count >> 1);
        else samples.delete(offset);
  }

  /** The guest was found at the code `offset` bytes into frame `mfn`. Translates it when that was often so. */
  sample(mfn: number, offset: number, mode: 64 | 32 = 64): void {
    if (++this.sinceDecay >= DECAY_INTERVAL) this.decay();
    const page = this.pageOf(mfn, mode);
    const count = (page.samples.get(offset) ?? 0) + 1;
    page.samples.set(offset, count);
    if (count < THRESHOLD || page.refused.has(offset)) return;
    if (!this.translate(mfn, offset, mode)) page.refused.add(offset);
  }

  /**
   * Translates the code `offset` bytes into frame `mfn` now, together with small regions of the page and what is about to
   * get hot there; `false` when it begins with what is never translated.
   */
  translate(mfn: number, offset: number, mode: 64 | 32 = 64): boolean {
    if (this.live >= MAX_REGIONS) this.dropAll();
    const { memory, code, handlers } = this;
    const generation = code.generation;
    const record = code.recordAt(mfn, mode, offset);
    if (memory.words[(record + RECORD.hot) / 4]! >= handlers.hotCount) return true;
    const page = this.pageOf(mfn, mode);
    const joined = page.regions.filter((region) => region.grows && region.size <= GROWING_LIMIT);
    const warm = [...page.samples].filter(([, count]) => count >= JOIN_THRESHOLD).map(([at]) => at);
    const wanted = [...new Set([offset, ...joined.flatMap((region) => region.wanted), ...warm])];
    const view = code.pageView(mfn, mode);
    const graph = collectRegion(
      {
        bytes: () => memory.bytes.subarray(mfn * 4096, mfn * 4096 + 4096),
        neighbour: () => -1,
        mode,
        selector: this.selector,
        known: view.isKnown,
        limit: REGION_LIMIT,
      },
      wanted,
    );
    if (!graph.entries.has(offset)) return false;
    const slot = this.freeSlots.pop() ?? this.newSlot();
    const recordOf = (at: number) => code.recordAt(mfn, mode, at);
    const entries = this.compile(graph, {
      tables: [view.table],
      tag: slot,
      recordOf,
      floatCalls: !isFloatSilent(memory.words[STATE.mxcsr / 4]!),
      flat: false,
    });
    // Decoding for the region may have started the code cache anew: then its addresses are stale.
    if (entries === undefined || code.generation !== generation) {
      this.freeSlots.push(slot);
      return false;
    }
    // A region that did not fit whole stays, too.
    const replaced = joined.filter((region) => region.wanted.every((at) => graph.entries.has(at)));
    for (const region of replaced) this.release(region);
    this.enter({
      slot,
      keys: [pageKey(mfn, mode)],
      entries: this.patch(entries.map(recordOf), slot),
      grows: true,
      addresses: wanted.filter((at) => graph.entries.has(at)).map((at) => mfn * 4096 + at),
      wanted: wanted.filter((at) => graph.entries.has(at)),
      size: graphSize(graph),
    });
    for (const at of entries) page.samples.delete(at);
    return true;
  }

  private enter(region: Region): void {
    for (const key of region.keys) this.pages.get(key)!.regions.push(region);
    this.live++;
    this.translated++;
  }

  /** Before a trace: all regions step aside, so that the trace shows the paths as they are now. */
  beginTrace(): void {
    for (const region of this.regions()) this.unpatch(region);
  }

  /** After a trace that nothing is made of. */
  abandonTrace(): void {
    this.endTrace(this.regions(), new Set());
  }

  private regions(): Set<Region> {
    const all = new Set<Region>();
    for (const { regions } of this.pages.values()) for (const region of regions) all.add(region);
    return all;
  }

  /** After a trace: regions whose code is in one that was made anew go, the others are entered again. */
  private endTrace(before: ReadonlySet<Region>, made: ReadonlySet<number>): void {
    const still = this.regions();
    for (const region of before) {
      if (!still.has(region)) continue;
      if (region.addresses.some((address) => made.has(address))) this.release(region);
      else
        for (const { record, number } of region.entries)
          if (this.isFree(record))
            this.memory.words[(record + RECORD.hot) / 4] = region.slot * 2 ** REGION_ENTRY_BITS + number;
    }
  }

  /**
   * Translates what a trace shows to be executed repeatedly, `frameOf` telling which frame is mapped at a linear page (its
   * low 36 bits) now. Answers how many guest instructions were translated.
   */
  translatePaths(trace: PathTrace, frameOf: (linear: number) => number): number {
    const { memory, code } = this;
    const { generation } = code;
    const map = new PathMap(trace, {
      memory,
      code,
      frameOf,
      checkSlot: this.selector.checkHandler.slot,
    });
    if (this.isKnownMostly(map)) {
      this.abandonTrace();
      return 0;
    }
    const source: RegionSource = {
      bytes: (page) => memory.bytes.subarray(map.pages[page]!.mfn * 4096, map.pages[page]!.mfn * 4096 + 4096),
      neighbour: (page, delta) => map.neighbour(page, delta),
      mode: 64,
      selector: this.selector,
      known: (at) => map.isKnown(at),
      seen: (at) => map.seen.get(at) ?? [],
      resumed: map.resumed,
      distance: (from, to) => map.distance(from, to),
      copies: map,
      limit: PATH_LIMIT,
    };
    const before = this.regions();
    const covered = new Set<number>();
    const addresses = new Set<number>();
    const known = (at: number) => map.isKnown(at) && !covered.has(at);
    let made = 0;
    for (const start of map.arrivals) {
      if (made >= TRACE_LIMIT || this.live >= MAX_REGIONS || code.generation !== generation) break;
      if (covered.has(start) || !this.isFree(map.recordAt(start))) continue;
      map.dropCopies();
      const graph = collectRegion({ ...source, known }, [start]);
      const places = instructionPlaces(graph).filter((at) => !map.isCopy(at));
      for (const at of places) covered.add(at);
      if (graphSize(graph) < SHORTEST_PATH) continue;
      const region = this.translatePath(graph, map, {
        keys: keysOfPlaces(map.pages, graph.blocks.keys()),
        generation,
      });
      if (region === undefined) continue;
      made += region.size;
      for (const address of region.addresses) addresses.add(address);
    }
    this.endTrace(before, addresses);
    return made;
  }

  /** Whether the regions made from paths have most of the code already. */
  private isKnownMostly(map: PathMap): boolean {
    const had = new Set<number>();
    for (const { addresses } of this.paths) for (const address of addresses) had.add(address);
    let [all, known] = [0, 0];
    for (const page of map.pages)
      page.known.forEach((begins, offset) => {
        if (begins === 0) return;
        all++;
        if (had.has(page.mfn * 4096 + offset)) known++;
      });
    return known >= all * KNOWN_SHARE;
  }

  private translatePath(
    graph: Graph,
    map: PathMap,
    { keys, generation }: { readonly keys: readonly number[]; readonly generation: number },
  ): Region | undefined {
    const { code, memory } = this;
    const slot = this.freeSlots.pop() ?? this.newSlot();
    const recordOf = (at: number) => code.recordAt(map.pages[at >>> 12]!.mfn, 64, at & 4095);
    const entries = this.compile(graph, {
      tables: map.pages.map(({ table }) => table),
      tag: slot,
      recordOf,
      floatCalls: !isFloatSilent(memory.words[STATE.mxcsr / 4]!),
      flat: true,
    });
    if (entries === undefined || code.generation !== generation) {
      this.freeSlots.push(slot);
      return undefined;
    }
    for (const key of keys) if (!this.pages.has(key)) this.pages.set(key, emptyPage());
    const records = entries.map(recordOf);
    const region: Region = {
      slot,
      keys,
      entries: this.patch(records, slot),
      grows: false,
      addresses: instructionPlaces(graph)
        .filter((at) => !map.isCopy(at))
        .map((at) => map.pages[at >>> 12]!.mfn * 4096 + (at & 4095)),
      wanted: [],
      size: graphSize(graph),
    };
    this.enter(region);
    this.paths.add(region);
    return region;
  }

  /** Whether a record is there, and does not lead into a region. */
  isFree(record: number): boolean {
    return record !== 0 && this.memory.words[(record + RECORD.hot) / 4]! < this.handlers.hotCount;
  }

  /** Makes the region's module, and enters its function into the table at the place's tag. */
  private compile(graph: Graph, place: RegionPlace): readonly number[] | undefined {
    const { emitter } = this;
    const module = new ModuleBuilder();
    const pages = this.wasm.buffer.byteLength / 65536;
    module.importMemory({ module: "e", name: "m", minimum: pages, maximum: pages });
    const index = module.declare({ parameters: ["i32"], results: ["i32"] }, "r");
    const helpers = new HelperFunctions(module);
    const entries = this.emit(graph, place, helpers);
    if (entries === undefined) return undefined;
    module.define(index, emitter);
    helpers.define(emitter);
    const bytes = module.toBytes() as Uint8Array<ArrayBuffer>;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { e: { m: this.wasm } });
    this.table.set(place.tag, instance.exports.r);
    this.bytes += bytes.length;
    return entries;
  }

  private emit(graph: Graph, place: RegionPlace, helpers: HelperFunctions): readonly number[] | undefined {
    try {
      return emitRegion(this.emitter, graph, place, helpers);
    } catch (error) {
      if (error instanceof UntranslatableError) return undefined;
      throw error;
    }
  }

  /** Makes the entries' records lead into the region, but for those that lead into another one. */
  private patch(records: readonly number[], slot: number): RegionEntry[] {
    const { words } = this.memory;
    const patched: RegionEntry[] = [];
    records.forEach((record, number) => {
      const hot = words[(record + RECORD.hot) / 4]!;
      if (hot >= this.handlers.hotCount) return;
      words[(record + RECORD.hot) / 4] = slot * 2 ** REGION_ENTRY_BITS + number;
      patched.push({ record, number, hot });
    });
    return patched;
  }

  private newSlot(): number {
    const first = this.table.grow(64);
    for (let slot = first + 63; slot > first; slot--) this.freeSlots.push(slot);
    return first;
  }

  /** The code in `mfn` is gone: so are all regions with some of it. */
  private drop(mfn: number, mode: 64 | 32): void {
    const key = pageKey(mfn, mode);
    const page = this.pages.get(key);
    if (page === undefined) return;
    for (const region of [...page.regions]) this.release(region);
    this.pages.delete(key);
  }

  private dropAll(): void {
    for (const { regions } of this.pages.values()) for (const region of [...regions]) this.release(region);
    this.pages.clear();
  }

  /** The interpreter executes the region's entries again. */
  private release(region: Region): void {
    this.unpatch(region);
    this.paths.delete(region);
    for (const key of region.keys) {
      const page = this.pages.get(key)!;
      page.regions = page.regions.filter((other) => other !== region);
    }
    this.giveBack(region);
  }

  private unpatch({ slot, entries }: Region): void {
    const { words } = this.memory;
    for (const { record, hot } of entries)
      if (words[(record + RECORD.hot) / 4]! >>> REGION_ENTRY_BITS === slot) words[(record + RECORD.hot) / 4] = hot;
  }

  private giveBack({ slot }: Region): void {
    this.table.set(slot, null);
    this.freeSlots.push(slot);
    this.live--;
  }
}

function emptyPage(): HotPage {
  return { samples: new Map(), refused: new Set(), regions: [] };
}
