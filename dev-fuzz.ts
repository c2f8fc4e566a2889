import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { decode, Instruction, OPCODES, OPERAND } from "@paravirt/x86";
import { createEngine } from "./packages/cpu/src/index.ts";
import { EXIT } from "./packages/cpu/src/vcpu.ts";
import { semanticName, shapeOf } from "./packages/cpu/src/tier0/select.ts";
const CODE = 0xc00000, DATA = 0xa00000, STACK = 0xb00000;
let seed = BigInt(process.env.SEED ?? 1) * 0x9e3779b97f4a7c15n & 0xffffffffffffffffn;
const r64 = () => { seed ^= (seed << 13n) & 0xffffffffffffffffn; seed ^= seed >> 7n; seed ^= (seed << 17n) & 0xffffffffffffffffn; return seed; };
const r = (n: number) => Number(r64() % BigInt(n));
const EDGE = [0n, 1n, 2n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0xffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn, 0x7fffffffffffffffn, 0x8000000000000000n, 0xffffffffffffffffn, 0xfffffffffffffffen];
const val = () => (r(3) === 0 ? EDGE[r(EDGE.length)]! : r(2) ? r64() : r64() >> BigInt(r(64)));
const ok = new Set((process.env.FEATURES ?? "general,bmi1,bmi2,adx,popcnt,lzcnt,movbe,abm,crc32,sse4.2").split(","));
const skipNames = new Set(["cpuid","rdtsc","rdtscp","syscall","sysenter","int","int3","int1","into","hlt","xgetbv","rdrand","rdseed","rdpid","pause","sgdt","sidt","sldt","str","smsw","lar","lsl","verr","verw","popf","pushf","in","out","ins","outs","mov.segment","push.segment","pop.segment","iret","retf","enter","rdssp","incssp","rdfsbase","rdgsbase","wrfsbase","wrgsbase","mov.control", "clflush","clwb","clflushopt","arpl","xlatb","fwait"]);
const N = Number(process.env.N ?? 3000);
const data = new Uint8Array(4096).map(() => r(256)), stack = new Uint8Array(4096).map(() => r(256));
writeFileSync("/tmp/fz/d", data); writeFileSync("/tmp/fz/s", stack);
const ins = new Instruction();
interface Case { code: Uint8Array; g: bigint[]; fl: bigint; text: string; und: string }
const cases: Case[] = [];
const only = process.env.ONLY?.split(",");
while (cases.length < N) {
  const b: number[] = [];
  if (r(5) === 0) b.push(0x66); const rp = r(12); if (rp === 0) b.push(0xf2); else if (rp === 1) b.push(0xf3);
  if (r(2)) b.push(0x40 + r(16));
  const m = r(6); if (m < 2) b.push(0x0f); else if (m === 2) { b.push(0x0f, 0x38); } else if (m === 3 && r(2)) { b.length = 0; b.push(0xc4, 0xe2 ^ (r(2) << 7) ^ (r(2) << 5), r(256) & 0xfb); }
  while (b.length < 15) b.push(r(256));
  const code = Uint8Array.from(b);
  const len = decode(code, 0, 15, 64, ins); if (len === 0) continue;
  const row = OPCODES[ins.row]!; if (!ok.has(row.feature) || row.privileged || row.flow !== "next") continue;
  const name = semanticName(ins); if (skipNames.has(name) || skipNames.has(row.name)) continue;
  if (only && !only.includes(row.name)) continue;
  if (ins.base === 16 || ins.addressSize !== 8) continue;
  const g = Array.from({ length: 16 }, val); g[4] = BigInt(STACK + 0x800 + r(64) * 8);
  let mem = false; for (let i = 0; i < ins.operandCount; i++) if (ins.kinds[i] === OPERAND.MEMORY) mem = true;
  if (mem) {
    if (row.name.startsWith("nop") || row.name==="prefetch") continue;
    if (ins.segment >= 4) continue;
    if (ins.base < 0) continue; if (ins.base === 4 && ins.index >= 0) continue;
    let disp = BigInt(ins.displacement) ;
    let target = BigInt(DATA + (r(8) === 0 ? 4080 + r(32) : r(20) === 0 ? -8 + r(16) : 8 + r(4000)));
    if (ins.index >= 0) { if (ins.index === ins.base) { continue; } g[ins.index] = BigInt(r(2000)) ; target -= g[ins.index]! << BigInt(ins.scale); }
    if (name.endsWith(".string")) { const reg = ins.registers[1]!; if (reg === ins.base || reg === ins.index) continue; g[reg] = BigInt(r(4000)) - 2000n & 0xffffffffffffffffn; if (r(2)) g[reg]! &= 0xffffn; }
    g[ins.base] = (target - disp) & 0xffffffffffffffffn;
    if (ins.base === 4 && (row.name === "push" || row.name === "pop")) continue;
  }
  const isStr = /movs|stos|lods|cmps|scas/.test(row.name) && ins.kinds[0]! >= 7 || ins.kinds[1]! >= 7;
  if (isStr) { g[6] = BigInt(DATA + r(4096)); g[7] = BigInt(DATA + r(4000)); g[1] = BigInt(r(40)); }
  const fl = 0x202n | (r64() & 0x8d5n) | (isStr && r(4) === 0 ? 0x400n : 0n);
  const c = code.slice(0, len);
  cases.push({ code: c, g, fl, text: name + ":" + shapeOf(ins), und: row.flagsUndefined });
}
const REQ = 16 + 128 + 8 + 256 + 4 + 4 + 1 + 80 + 2 + 1 + 64 + 2 + 1 + 64;
const req = new Uint8Array(REQ * cases.length), qv = new DataView(req.buffer);
cases.forEach((c, i) => { let o = i * REQ; req[o] = c.code.length; req.set(c.code, o + 1); o += 16; for (const x of c.g) { qv.setBigUint64(o, x, true); o += 8; } qv.setBigUint64(o, c.fl, true); o += 8 + 256; qv.setUint32(o, 0x1f80, true); o += 4; qv.setUint16(o, 0x37f, true); });
const out = spawnSync("/tmp/fz/xo", ["/tmp/fz/d", "/tmp/fz/s"], { input: req, maxBuffer: 1 << 30 }).stdout;
const ov = new DataView(out.buffer, out.byteOffset, out.length);
const none = () => false;
const engine: any = createEngine({ memoryBytes: 8 << 20, ports: { readTsc: () => 0n, cpuid: () => {}, readDescriptor: () => undefined, mayReachForeign: none, random: () => 1n } });
const vcpu = engine.createVcpu(0), m = engine.memory; let next = m.firstFrame;
const alloc = () => { engine.frames.setOwner(next, 1); return next++; };
const root = alloc();
const map = (va: number, frame: number, fl: number) => { let t = root; for (let l = 4; l > 1; l--) { const i = Math.floor(va / 2 ** (3 + l * 9)) % 512; if (!m.quads[t * 512 + i]) m.quads[t * 512 + i] = BigInt(alloc() * 4096 + 7); t = Number(m.quads[t * 512 + i]! >> 12n); } m.quads[t * 512 + (Math.floor(va / 4096) % 512)] = BigInt(frame * 4096 + fl); };
const fc = alloc(), fd = alloc(), fd2 = alloc(), fs = alloc();
map(CODE, fc, 7); map(DATA, fd, 7); map(DATA + 4096, fd2, 5); map(STACK, fs, 7);
vcpu.owner = 1; vcpu.setRoot(root);
let o = 0, bad = 0; const badBy = new Map<string, string[]>(); let t = 0;
const RES = 4 + 4 + 8 + 8 + 128 + 8 + 256 + 4 + 4 + 1 + 80 + 4;
for (const c of cases) {
  const trap = ov.getUint32(o, true), err = ov.getUint32(o + 4, true), cr2 = ov.getBigUint64(o + 8, true), rip = ov.getBigUint64(o + 16, true);
  const g: bigint[] = []; for (let i = 0; i < 16; i++) g.push(ov.getBigUint64(o + 24 + i * 8, true)); const fl = ov.getBigUint64(o + 152, true);
  const nd = ov.getUint32(o + RES - 4, true); o += RES; const diffs = new Map<number, number>(); for (let i = 0; i < nd; i++) { diffs.set(ov.getUint32(o, true), out[o + 4]!); o += 5; }
  m.bytes.fill(0xcc, fc * 4096, fc * 4096 + 4096); m.bytes.set(c.code, fc * 4096 + 0x800); engine.frames.written(fc);
  m.bytes.set(data, fd * 4096); m.bytes.set(data, fd2 * 4096); m.bytes.set(stack, fs * 4096);
  vcpu.regs.set(c.g); vcpu.rflags = c.fl; vcpu.rip = BigInt(CODE + 0x800);
  let e; const t1 = performance.now();
  if (process.env.RUN) e = vcpu.run(200); else { for (let k = 0; k < 50; k++) { e = vcpu.step(); if (e.reason !== EXIT.BUDGET || vcpu.rip !== BigInt(CODE + 0x800)) break; } }
  t += performance.now() - t1;
  const problems: string[] = [];
  const tr = process.env.RUN ? (e.reason === EXIT.INTERRUPT ? 3 : e.reason === EXIT.FAULT ? e.vector : 99) : e.reason === EXIT.FAULT ? e.vector : 3;
  if (tr !== trap) problems.push(`trap ${tr} want ${trap}`);
  else { if (trap === 14 && (e.address !== cr2)) problems.push(`cr2 ${e.address.toString(16)} want ${cr2.toString(16)}`); if (trap===14 && (e.errorCode & 7) !== (err & 7)) problems.push("cr2 " + cr2.toString(16)); if (trap === 14 && (e.errorCode & 7) !== (err & 7)) problems.push(`err ${e.errorCode} want ${err}`); }
  if (vcpu.rip !== rip) problems.push(`rip ${vcpu.rip.toString(16)} want ${rip.toString(16)}`);
  for (let i = 0; i < 16; i++) if (vcpu.regs[i] !== g[i]) problems.push(`r${i} ${vcpu.regs[i].toString(16)} want ${g[i]!.toString(16)}`);
  let mask = 0xcd5n; const L: Record<string, bigint> = { o: 0x800n, s: 0x80n, z: 0x40n, a: 0x10n, p: 4n, c: 1n }; for (const u of c.und) mask &= ~(L[u] ?? 0n);
  if (/^(shl|shr|sar|rol|ror|rcl|rcr|sal)/.test(c.text)) mask &= ~0x810n; if (/^sh[lr]d/.test(c.text)) mask &= ~0x810n; 
  if ((vcpu.rflags & mask) !== (fl & mask)) problems.push(`fl ${(vcpu.rflags & mask).toString(16)} want ${(fl & mask).toString(16)} in ${c.fl.toString(16)}`);
  for (const [base, f, im] of [[DATA, fd, data], [STACK, fs, stack]] as any) for (let i = 0; i < 4096; i++) { const w = diffs.get(base + i) ?? im[i]; if (m.bytes[f * 4096 + i] !== w) { problems.push(`mem ${(base + i).toString(16)} ${m.bytes[f * 4096 + i]} want ${w}`); break; } }
  if (problems.length) { bad++; const k = c.text; const l = badBy.get(k) ?? []; l.push(Buffer.from(c.code).toString("hex") + " " + problems.join("; ")); badBy.set(k, l); }
}
console.log(cases.length, "cases", bad, "bad", (cases.length / t).toFixed(1), "k/s", [...engine.selector.missing].join(" "));
for (const [k, l] of [...badBy].sort((a, b) => b[1].length - a[1].length).slice(0, 40)) console.log(k, l.length, "\n   ", l[0]!.slice(0, 300));
