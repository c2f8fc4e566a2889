// What a booting kernel does most: batches of mmu_update, pinning a process's tables, forking (taking write rights).

import { createDirectPaging } from "../src/direct-paging.ts";
import { PTE } from "../src/pte.ts";
import { createTableBuilder } from "../src/table-builder.ts";
import { createTestMemory } from "../src/test-machine.ts";

const { PRESENT: P, WRITABLE: W, ACCESSED: A } = PTE;

/** An engine that has nothing cached: what is measured is this package. */
const idle = {
  setOwner: () => {},
  setWritable: () => {},
  setReadableByAll: () => {},
  forget: () => {},
  written: () => {},
  flushPage: () => {},
  flushAddressSpace: () => {},
  flushAll: () => {},
};
const memory = createTestMemory(8192);
const paging = createDirectPaging({ memory, guard: idle, tlb: idle });
const domain = paging.createDomain({ id: 1, maxFrames: 6000 });
const frame = (): number => paging.allocate(domain, 0);

/** A root that maps `pages` pages. */
function space(pages: number): { root: number; l1: number } {
  const root = frame();
  const builder = createTableBuilder({ memory, root, allocateTable: frame });
  for (let i = 0; i < pages; i++) builder.map(BigInt(i * 4096), frame(), P | W | A);
  return { root, l1: builder.entryAddress(0n) };
}

const live = space(512);
paging.pin(domain, 4, live.root);
const target = frame();
const map = new Uint32Array(32 * 4);
const unmap = new Uint32Array(32 * 4);
for (let i = 0; i < 32; i++) {
  map.set([live.l1 + i * 8, 0, ((target + 0) << 12) | P | W | A, 0], i * 4);
  unmap.set([live.l1 + i * 8, 0, 0, 0], i * 4);
}
const protect = new Uint32Array(512 * 4);
const restore = new Uint32Array(512 * 4);
for (let i = 0; i < 512; i++) {
  const low = memory.words[(live.l1 + i * 8) / 4]!;
  protect.set([live.l1 + i * 8, 0, low & ~W, 0], i * 4);
  restore.set([live.l1 + i * 8, 0, low, 0], i * 4);
}

/** Runs `work` for about a second and prints the median time of one of its `units`. */
function measure(name: string, units: number, unit: string, work: () => void): void {
  for (let i = 0; i < 2000; i++) work();
  const times: number[] = [];
  for (const end = performance.now() + 1000; performance.now() < end; ) {
    const start = performance.now();
    for (let i = 0; i < 20; i++) work();
    times.push((performance.now() - start) / 20 / units);
  }
  times.sort((a, b) => a - b);
  const nanoseconds = times[times.length >> 1]! * 1e6;
  const rate = 1e9 / nanoseconds;
  const shown = rate > 1e6 ? `${(rate / 1e6).toFixed(1)} million` : Math.round(rate).toString();
  console.log(`${name.padEnd(64)} ${nanoseconds.toFixed(0).padStart(7)} ns  ${shown} ${unit} a second`);
}

measure("mmu_update: map 32 pages, unmap 32 pages", 64, "updates", () => {
  paging.mmuUpdate(domain, map, 32, 0x7ff0);
  paging.mmuUpdate(domain, unmap, 32, 0x7ff0);
});
measure("mmu_update: take write rights from 512 pages, give them back", 1024, "updates", () => {
  paging.mmuUpdate(domain, protect, 512, 0x7ff0);
  paging.mmuUpdate(domain, restore, 512, 0x7ff0);
});

const full = space(512);
const fullL1 = full.l1 / 4096;
const empty = frame();
const user = space(60);
measure("pin and unpin an L1 of 512 pages", 1, "pairs", () => {
  paging.pin(domain, 1, fullL1);
  paging.unpin(domain, fullL1);
});
measure("pin and unpin an empty L1", 1, "pairs", () => {
  paging.pin(domain, 1, empty);
  paging.unpin(domain, empty);
});
measure("pin and unpin an address space of 60 pages", 1, "pairs", () => {
  paging.pin(domain, 4, user.root);
  paging.unpin(domain, user.root);
});
