/// <reference path="../webassembly.d.ts" />
import type { MachineMemory } from "@paravirt/core";
import { CodeEmitter, ModuleBuilder } from "@paravirt/wasm-emit";
import type { CodeCache } from "../code-cache.ts";
import { HelperFunctions } from "../helpers.ts";
import { RECORD } from "../layout.ts";
import type { HandlerTable } from "../tier0/handlers.ts";
import type { Selector } from "../tier0/select.ts";
import { collectRegion } from "./control-flow.ts";
import { emitRegion } from "./region.ts";

/** Samples at one place before it is translated. */
const THRESHOLD = 8;
/** Most regions alive; beyond, all are dropped and the hot ones come back. V8 spends about 20 KiB on each module. */
const MAX_REGIONS = 3000;

/** A translated region. */
interface Region {
  readonly slot: number;
  readonly record: number;
  /** What the record said before: its index in the main loop's table. */
  readonly hot: number;
}

/** Finds hot code by sampling where the interpreter is, translates it, and patches the entry's record. */
export class Translator {
  private readonly memory: MachineMemory;
  private readonly wasm: WebAssembly.Memory;
  private readonly table: WebAssembly.Table;
  private readonly handlers: HandlerTable;
  private readonly selector: Selector;
  private readonly code: CodeCache;
  private readonly emitter = new CodeEmitter(1 << 15);
  private readonly samples = new Map<number, number>();
  /** Regions by frame of their code. */
  private readonly regions = new Map<number, Region[]>();
  private readonly freeSlots: number[] = [];
  private live = 0;
  /** Entries that can't be translated. */
  private readonly refused = new Set<number>();
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
    this.code.onDrop = (mfn) => this.drop(mfn);
  }

  /** The interpreter was found at the code `offset` bytes into frame `mfn`. Translates it when that was often so. */
  sample(mfn: number, offset: number): void {
    const key = mfn * 4096 + offset;
    const count = (this.samples.get(key) ?? 0) + 1;
    this.samples.set(key, count);
    if (count < THRESHOLD || this.refused.has(key)) return;
    this.samples.delete(key);
    if (!this.translate(mfn, offset)) this.refused.add(key);
  }

  /** Translates the code `offset` bytes into frame `mfn` now; `false` when it begins with what is never translated. */
  translate(mfn: number, offset: number): boolean {
    if (this.live >= MAX_REGIONS) this.dropAll();
    const { memory, code, emitter } = this;
    const generation = code.generation;
    const record = code.recordAt(mfn, 64, offset);
    const hot = memory.words[(record + RECORD.hot) / 4]!;
    if (hot >= this.handlers.hotCount) return true;
    const graph = collectRegion(memory.bytes.subarray(mfn * 4096, mfn * 4096 + 4096), offset, this.selector);
    const module = new ModuleBuilder();
    const pages = this.wasm.buffer.byteLength / 65536;
    module.importMemory({ module: "e", name: "m", minimum: pages, maximum: pages });
    const index = module.declare({ parameters: [], results: ["i32"] }, "r");
    const helpers = new HelperFunctions(module);
    if (!emitRegion(emitter, graph, offset, (at) => code.recordAt(mfn, 64, at), helpers)) return false;
    // Decoding for the region may have started the code cache anew: then its addresses are stale.
    if (code.generation !== generation) return false;
    module.define(index, emitter);
    helpers.define(emitter);
    const bytes = module.toBytes() as Uint8Array<ArrayBuffer>;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { e: { m: this.wasm } });
    const slot = this.freeSlots.pop() ?? this.newSlot();
    this.table.set(slot, instance.exports.r);
    memory.words[(record + RECORD.hot) / 4] = this.handlers.hotCount + slot - this.handlers.handlers.length;
    const region = { slot, record, hot };
    const list = this.regions.get(mfn);
    if (list) list.push(region);
    else this.regions.set(mfn, [region]);
    this.live++;
    this.translated++;
    this.bytes += bytes.length;
    return true;
  }

  private newSlot(): number {
    const first = this.table.grow(64);
    for (let slot = first + 63; slot > first; slot--) this.freeSlots.push(slot);
    return first;
  }

  /** The code in `mfn` is gone: its records too, so only the slots are given back. */
  private drop(mfn: number): void {
    for (const region of this.regions.get(mfn) ?? []) this.release(region);
    this.regions.delete(mfn);
    for (const key of this.refused) if (Math.floor(key / 4096) === mfn) this.refused.delete(key);
  }

  private dropAll(): void {
    for (const list of this.regions.values())
      for (const region of list) {
        this.memory.words[(region.record + RECORD.hot) / 4] = region.hot;
        this.release(region);
      }
    this.regions.clear();
    this.samples.clear();
  }

  private release(region: Region): void {
    this.table.set(region.slot, null);
    this.freeSlots.push(region.slot);
    this.live--;
  }
}
