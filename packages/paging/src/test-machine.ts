// A machine for this package's tests and benchmark: memory, and a model of the engine's TLB that caches for ever.
import type { FrameGuard, MachineMemory, TlbPort } from "@paravirt/core";
import { createDirectPaging, type DirectPaging } from "./direct-paging.ts";
import { entryMfn, PTE, tableIndex } from "./pte.ts";

/** One cached translation of the model. */
export interface CachedPage {
  readonly root: number;
  readonly address: bigint;
  readonly mfn: number;
  readonly writable: boolean;
  readonly executable: boolean;
}

/** The model: fills from the tables as the engine does, drops only what it is told to. */
export interface ModelTlb extends FrameGuard, TlbPort {
  readonly entries: Map<string, CachedPage>;
  readonly flushes: { pages: number; spaces: number; all: number; forgotten: number };
  isWritable(mfn: number): boolean;
  ownerOf(mfn: number): number;
  /** An access of domain `owner` under `root`; `undefined` when it faults. */
  access(root: number, address: bigint, owner: number, write: boolean): CachedPage | undefined;
}

/** The tables' own answer, with A and D untouched; `undefined` when not mapped. */
export function translate(
  memory: MachineMemory,
  root: number,
  address: bigint,
): (CachedPage & { at: number[] }) | undefined {
  let table = root;
  let writable = true;
  let executable = true;
  const at: number[] = [];
  for (let level = 4; level >= 1; level--) {
    const word = table * 1024 + tableIndex(level, address) * 2;
    const low = memory.words[word]!;
    const high = memory.words[word + 1]!;
    if ((low & PTE.PRESENT) === 0) return undefined;
    writable &&= (low & PTE.WRITABLE) !== 0;
    executable &&= (high & PTE.HIGH_NX) === 0;
    at.push(word);
    table = entryMfn(low, high);
    if (table >= memory.frames) return undefined;
  }
  return { root, address, mfn: table, writable, executable, at };
}

/** Creates the TLB model. `mayReachForeign` decides for frames of other owners. */
export function createModelTlb(
  memory: MachineMemory,
  mayReachForeign: (owner: number, mfn: number, write: boolean) => boolean,
): ModelTlb {
  const entries = new Map<string, CachedPage>();
  const owners = new Uint16Array(memory.frames).fill(0x7fff);
  const readOnly = new Set<number>();
  const readable = new Set<number>();
  const flushes = { pages: 0, spaces: 0, all: 0, forgotten: 0 };
  const drop = (which: (page: CachedPage) => boolean): void => {
    for (const [key, page] of entries) if (which(page)) entries.delete(key);
  };
  return {
    entries,
    flushes,
    isWritable: (mfn) => !readOnly.has(mfn),
    ownerOf: (mfn) => owners[mfn]!,
    setOwner: (mfn, owner) => {
      owners[mfn] = owner;
      drop((page) => page.mfn === mfn);
    },
    setWritable: (mfn, writable) => {
      if (writable) readOnly.delete(mfn);
      else {
        readOnly.add(mfn);
        drop((page) => page.mfn === mfn && page.writable);
      }
    },
    setReadableByAll: (mfn, yes) => {
      if (yes) readable.add(mfn);
      else readable.delete(mfn);
    },
    forget: (mfn) => {
      flushes.forgotten++;
      drop((page) => page.mfn === mfn);
    },
    written: () => {},
    flushPage: (address) => {
      flushes.pages++;
      drop((page) => page.address === address);
    },
    flushAddressSpace: (root) => {
      flushes.spaces++;
      drop((page) => page.root === root);
    },
    flushAll: () => {
      flushes.all++;
      entries.clear();
    },
    access: (root, address, owner, write) => {
      const key = `${root}:${address}:${write}`;
      const cached = entries.get(key);
      if (cached !== undefined) return cached;
      const found = translate(memory, root, address);
      if (found === undefined || (write && (!found.writable || readOnly.has(found.mfn)))) return undefined;
      const mine = owners[found.mfn] === owner || (!write && readable.has(found.mfn));
      if (!mine && !mayReachForeign(owner, found.mfn, write)) return undefined;
      for (const word of found.at) memory.words[word]! |= PTE.ACCESSED;
      if (write) memory.words[found.at[3]!]! |= PTE.DIRTY;
      const page = { root, address, mfn: found.mfn, writable: write, executable: found.executable };
      entries.set(key, page);
      return page;
    },
  };
}

/** Memory of `frames` frames, the first 16 of them the engine's. */
export function createTestMemory(frames: number): MachineMemory {
  const buffer = new ArrayBuffer(frames * 4096);
  return {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Uint32Array(buffer),
    quads: new BigUint64Array(buffer),
    frames,
    firstFrame: 16,
  };
}

/** A machine with direct paging on it. */
export interface TestMachine {
  readonly memory: MachineMemory;
  readonly tlb: ModelTlb;
  readonly paging: DirectPaging;
}

/** Creates a {@link TestMachine}. */
export function createTestMachine(frames: number): TestMachine {
  const memory = createTestMemory(frames);
  const tlb = createModelTlb(memory, (owner, mfn, write) => paging.mayReachForeign(owner, mfn, write));
  const paging: DirectPaging = createDirectPaging({ memory, guard: tlb, tlb });
  return { memory, tlb, paging };
}
