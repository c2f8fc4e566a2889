import { expect, test } from "vitest";
import { PAGE, Stage } from "../agreement/stage.ts";
import { EXIT } from "./index.ts";

const CODE = 0xc00000n;
const DATA = 0x10000000n;
const DATA_PAGES = 512;
const BUDGET = 10_000;
/** Instructions after a budget's end until the next look at it: no more than a region or a decoded block holds, twice. */
const OVERSHOOT = 500;
/** Milliseconds that a slice may take, however slow and busy the host: at some 10 ns an instruction it is 0.1 ms. */
const PATIENCE = 60;

const chain = (count: number, line: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => line(i)).join("\n");

/** Code that never comes to a natural end, and has no backward branch of its own where a budget would be looked at. */
const ENDLESS: Readonly<Record<string, string>> = {
  "jump to itself": "jmp .",
  "rep movsb upwards": "mov rcx, -1\nrep movsb",
  "rep movsq": "mov rcx, -1\nrep movsq",
  "rep movsb one byte ahead": "lea rdi, [rsi+1]\nmov rcx, -1\nrep movsb",
  "rep movsb downwards": "std\nmov rcx, -1\nlea rsi, [rsi+0x1ff000]\nlea rdi, [rsi-0x1000]\nrep movsb",
  "rep stosb": "mov rcx, -1\nrep stosb",
  "rep stosb over its own page": "lea rdi, [rip+again]\nmov ecx, 3000\nagain:\nrep stosb\njmp again",
  "rep lodsb": "mov rcx, -1\nrep lodsb",
  "repe cmpsb": "mov rcx, -1\nrepe cmpsb",
  "repne scasb": "mov eax, 1\nmov rcx, -1\nrepne scasb",
  "string instructions again and again": "again:\nmov rsi, rbx\nmov rdi, rbx\nmov rcx, 0x10000\nrep movsb\njmp again",
  "rep with a count of zero": "again:\nxor ecx, ecx\nrep movsb\nrep stosq\njmp again",
  "calls that never return": `${chain(100, (i) => `f${i}:\nlea rsp, [rbx+0x8000]\ncall f${(i + 1) % 100}`)}`,
  "forward jumps, and one back": `${chain(400, (i) => `f${i}:\njmp f${(i + 1) % 400}`)}`,
  "an indirect jump to itself": "lea rax, [rip+again]\nagain:\njmp rax",
  "indirect jumps in a ring": `${chain(60, (i) => `f${i}:\nlea rax, [rip+f${(i + 1) % 60}]\njmp rax`)}`,
  "returns without calls": "lea rax, [rip+again]\nlea rdx, [rbx+0x1000]\nagain:\nmov [rdx], rax\nmov rsp, rdx\nret",
  "call and return": "lea rsp, [rbx+0x8000]\nagain:\ncall f\njmp again\nf:\nret",
  recursion: "f:\nand rsp, 0x10007fff\nor rsp, 0x10000008\ncall f\nret",
  loop: "again:\nmov ecx, 5\nloop .\njmp again",
  "conditional jumps": "again:\nadd eax, 1\njc again\njnc again",
  "jumps between pages": "again:\njmp far\n.zero 4096, 0x90\nfar:\njmp again",
  "a function in the next page": "lea rsp, [rbx+0x8000]\nagain:\ncall far\njmp again\n.zero 4096, 0x90\nfar:\nret",
  "code that is rewritten each time": "again:\ninc byte ptr [rip+patch+1]\npatch:\n.byte 0x05, 1, 0, 0, 0\njmp again",
  "what JavaScript executes": "fldpi\nagain:\nfsin\nfyl2x\nfldpi\njmp again",
  "denormal numbers": "again:\nmovq xmm0, [rbx]\nmulsd xmm0, xmm0\ndivsd xmm1, xmm0\nsqrtsd xmm2, xmm1\njmp again",
  "an instruction over a page's border": "again:\njmp over\n.zero (4093 - .) & 4095\nover:\nadd eax, 5\njmp again",
};

test.each(Object.entries(ENDLESS))("a slice ends with its budget: %s", (_name, source) => {
  for (const way of ["interpreted", "translated"] as const) {
    const stage = new Stage(way);
    const root = stage.frame();
    const assembled = source.replace(/\.zero (\d+), 0x90/g, ".zero $1");
    const first = stage.code(assembled, CODE);
    for (let page = 1; page < 4; page++) stage.frame();
    for (let page = 0; page < 4; page++) stage.map(root, CODE + BigInt(page * 4096), first + page, PAGE.writable);
    const data = stage.frame();
    for (let page = 1; page < 64; page++) stage.frame();
    // Few frames behind many pages: much to move, little to hold.
    for (let page = 0; page < DATA_PAGES; page++) stage.map(root, DATA + BigInt(page * 4096), data + (page % 64));
    const vcpu = stage.vcpu(root, CODE);
    vcpu.regs[3] = DATA;
    vcpu.regs[4] = DATA + 0x8000n;
    vcpu.regs[6] = DATA;
    vcpu.regs[7] = DATA + 0x100000n;
    const milliseconds: number[] = [];
    for (let slice = 0; slice < 60; slice++) {
      const before = vcpu.instructions;
      const start = performance.now();
      const exit = vcpu.run(BUDGET);
      milliseconds.push(performance.now() - start);
      expect(vcpu.instructions - before).toBeLessThanOrEqual(BUDGET + OVERSHOOT);
      if (exit.reason !== EXIT.BUDGET) {
        // The end of the data: on from its start.
        expect([exit.reason, exit.vector]).toEqual([EXIT.FAULT, 14]);
        vcpu.regs[6] = DATA + 0x1000n;
        vcpu.regs[7] = DATA + 0x100000n;
      }
    }
    milliseconds.sort((a, b) => a - b);
    // The median: a busy host, or the compiling of a region, is no slice of the guest's making.
    expect(milliseconds[30]).toBeLessThan(PATIENCE);
    if (process.env.SLICE_TIMES)
      console.log(
        `${way} ${_name}: median ${milliseconds[30]!.toFixed(3)} ms, most ${milliseconds[59]!.toFixed(3)} ms`,
      );
  }
});
