import { readFileSync, writeSync } from "node:fs";
import { createEngine } from "./packages/cpu/src/index.ts";
import { Hypervisor } from "./packages/hypervisor/src/hypervisor.ts";
import { readKernelImage } from "./packages/boot/src/kernel-image.ts";
import { planPvDomain } from "./packages/boot/src/pv-plan.ts";
import { buildPvDomain } from "./packages/boot/src/pv-build.ts";
import { formatCrash } from "./packages/hypervisor/src/crash.ts";
import { createXenstore, populateHost, populateDomain } from "./packages/xenstore/src/index.ts";
import { createConsole } from "./packages/console/src/index.ts";
import { HYPERCALLS } from "./packages/hypervisor/src/hypercalls/index.ts";
const t0 = performance.now();
const mib = Number(process.env.MEM ?? 256);
let unpacked: Uint8Array | undefined; try { unpacked = readFileSync("/tmp/kern/vmlinux"); } catch {}
const image = readKernelImage(readFileSync(process.env.KERNEL ?? "/tmp/kern/boot/vmlinuz-6.1.0-56-amd64"), unpacked ? { unpacked } : {});
console.error("image", performance.now() - t0);
const initrd = process.env.INITRD ? readFileSync(process.env.INITRD) : undefined;
const plan = planPvDomain(image, { pages: mib * 256, ...(initrd ? { initrd } : {}), commandLine: process.env.CMD ?? "console=hvc0 earlyprintk=xen" });
let engine: any;
const start = process.hrtime.bigint();
const hv = new Hypervisor({
  createEngine: (ports) => (engine = createEngine({ memoryBytes: (mib + 24) << 20, ports, ...(process.env.SI ? { sampleInterval: Number(process.env.SI) } : {}) })),
  clock: { now: () => process.hrtime.bigint() - start, wallClockBase: BigInt(Date.now()) * 1000000n },
  ...(process.env.FEAT ? { cpuid: { features: process.env.FEAT.split(",") } } : {}),
  log: (d, t) => process.stderr.write(`[hv ${d}] ${t}`),
});
console.error("engine", performance.now() - t0);
const domain = hv.createDomain({ maxPages: mib * 256 + 2048, vcpus: Number(process.env.VCPUS ?? 1), name: "dev" });
const m = hv.memory;
const built = buildPvDomain(plan, {
  populate: (pfn) => { const mfn = hv.paging.populatePhysmap(domain.memory, 0, pfn); if (mfn < 0) throw new Error("populate " + pfn + " " + mfn); return mfn as any; },
  write: (mfn, offset, bytes) => m.bytes.set(bytes, mfn * 4096 + offset),
  writeEntry: (table, index, target, flags) => { m.quads[table * 512 + index] = BigInt(target) * 4096n + BigInt(flags); },
}, { sharedInfo: domain.sharedInfoMfn as any, storePort: 1 as any, consolePort: 2 as any });
console.error("built", performance.now() - t0);
console.error("pin", hv.paging.pin(domain.memory, 4, built.vcpu.cr3));
const vcpu = domain.vcpus[0]!;
console.error("root", domain.newBasePointer(vcpu, built.vcpu.cr3));
vcpu.cpu.rip = built.vcpu.rip; vcpu.cpu.regs[4] = built.vcpu.rsp; vcpu.cpu.regs[6] = built.vcpu.rsi;
vcpu.initialised = true; vcpu.down = false;
const store = createXenstore({});
populateHost(store.local);
const P1 = domain.events.allocateUnbound(0), P2 = domain.events.allocateUnbound(0); console.error("ports", P1, P2);
populateDomain(store.local, { domid: domain.id, name: "dev", uuid: "d1f42bd4-b08f-47c7-884a-8ddcfda8f2bc", memoryKiB: mib * 1024, vcpus: Number(process.env.VCPUS ?? 1), store: { port: 1, frame: built.storeFrame }, console: { port: 2, frame: built.consoleFrame } });
const page = (mfn: number) => m.bytes.subarray(mfn * 4096, mfn * 4096 + 4096);
let ring: any, con: any;
const hs: any = domain.events.bindHost(1, () => ring?.event());
ring = store.introduce(domain.id, { page: page(built.storeFrame), notify: () => hs.notify() });
let firstOut = false; let tail = "";
const hc: any = domain.events.bindHost(2, () => con?.event());
con = createConsole({ page: page(built.consoleFrame), notify: () => hc.notify(), onOutput: (b) => { writeSync(1, b); tail = (tail + Buffer.from(b).toString("latin1")).slice(-400); if (!firstOut && tail.includes("@@BOOT")) { firstOut = true; console.error("BOOT cpu", process.cpuUsage(), performance.now() - t0, engine.stats.instructions, process.resourceUsage().maxRSS); } } });
const pump = () => {};
domain.unpause();
let lastReport = performance.now();
const limit = Number(process.env.LIMIT ?? 60) * 1000;
let slices = 0; const samples = new Map<bigint, number>();
for (;;) {
  hv.runTimers(); hv.runListeners();
  let r = "blocked" as any; for (const v of domain.vcpus) { const q = hv.runVcpu(v, Number(process.env.SAMPLE ?? 1_000_000)); if (q !== "blocked" && q !== "offline") r = q; }
  pump(); slices++; if (process.env.SAMPLE && (!process.env.AFTER || engine.stats.instructions > Number(process.env.AFTER))) { const k = vcpu.cpu.rip; samples.set(k, (samples.get(k) ?? 0) + 1); }
  if (r === "blocked") { const d = hv.nextDeadline(); const now = hv.clock.now();  const ms = d < 0n ? 10 : Number(d - now) / 1e6; if (ms > 0) await new Promise((f) => setTimeout(f, ms)); }
  if (r === "shutdown" || r === "offline") { console.error("stop", r, domain.shutdown?.reason); if (domain.shutdown?.crash) console.error(formatCrash(domain.shutdown.crash, (n) => HYPERCALLS.find((h: any) => h.number === n)?.name ?? String(n))); break; }
  if (performance.now() - lastReport > 5000) { lastReport = performance.now(); console.error("..", engine.stats, "rip", vcpu.cpu.rip.toString(16), engine.selector.missing); }
  if (performance.now() - t0 > limit) { console.error("limit", vcpu.cpu.rip.toString(16)); break; }
}
console.error(engine.stats, engine.selector.missing, process.cpuUsage(), engine.softTlb.flushes);

if (process.env.SAMPLE) { const sys = readFileSync("/tmp/kern/kallsyms", "utf8").trim().split("\n").map((l) => { const [a, t, n] = l.split(" "); return { a: BigInt("0x" + a), t, n }; }).filter((x) => x.t !== "A" && x.t !== "a").sort((x, y) => (x.a < y.a ? -1 : 1));
  const by = new Map<string, number>(); for (const [k, c] of samples) { let lo = 0, hi = sys.length - 1; while (lo < hi) { const mid = (lo + hi + 1) >> 1; if (sys[mid]!.a <= k) lo = mid; else hi = mid - 1; } const n = sys[lo]!.n!; by.set(n, (by.get(n) ?? 0) + c); }
  const tot = [...by.values()].reduce((a, b) => a + b, 0); for (const [n, c] of [...by].sort((a, b) => b[1] - a[1]).slice(0, 40)) console.error((100 * c / tot).toFixed(1) + "%", n); }
