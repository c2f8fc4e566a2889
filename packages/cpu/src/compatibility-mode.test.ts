import { beforeEach, describe, expect, test } from "vitest";
import { SELECTOR } from "../agreement/places.ts";
import { Stage, WAYS } from "../agreement/stage.ts";
import { EXIT } from "./index.ts";
import { STATE } from "./layout.ts";

// What only compatibility mode has: everything wraps at 4 GiB, and upper halves of registers don't count.
const CODE = 0xc00000n;
const DATA = 0xa00000n;
const TOP = 0xfffff000n;
const [RAX, RCX, RDX, RSP, RBP, RSI] = [0, 1, 2, 4, 5, 6] as const;

describe.each(WAYS)("%s", (way) => {
  const stage = new Stage(way);
  beforeEach(() => stage.reset());

  /** Runs 32-bit code with pages at its place, at DATA, and at both ends of the address space, to its breakpoint. */
  function run(source: string, change: (regs: BigUint64Array) => void = () => {}, at = CODE) {
    const root = stage.frame();
    const [data, top, bottom] = [stage.frame(), stage.frame(), stage.frame()];
    const code = at === TOP ? top : stage.frame();
    stage.map(root, at & ~4095n, code);
    stage.map(root, DATA, data);
    if (at !== TOP) stage.map(root, TOP, top);
    stage.map(root, 0n, bottom);
    const vcpu = stage.vcpu(root, at);
    vcpu.mode = 32;
    vcpu.selectors.set([SELECTOR.data, SELECTOR.code32, SELECTOR.data, SELECTOR.data, 0, 0]);
    vcpu.regs[RSP] = DATA + 4096n;
    change(vcpu.regs);
    stage.patch(code, `${source}\nint3`, at, 32);
    const exit = stage.run(vcpu, 1_000_000);
    expect([exit.reason, exit.vector]).toEqual([EXIT.INTERRUPT, 3]);
    const read = (frame: number, offset: number) => stage.engine.memory.view.getUint32(frame * 4096 + offset, true);
    return { vcpu, data, top, bottom, read };
  }

  test("a base with a negative index reaches what lies below it", () => {
    const { vcpu } = run(
      "l: mov [0xa00800+ecx*4], ecx\nadd eax, [0xa00800+ecx*4]\nmov edx, [esi+ecx*4]\ninc ecx\njnz l",
      (regs) => {
        regs[RCX] = -500n;
        regs[RSI] = DATA + 0x800n;
      },
    );
    expect([vcpu.regs[RAX], vcpu.regs[RCX], vcpu.regs[RDX]]).toEqual([BigInt.asUintN(32, -125250n), 0n, 0xffffffffn]);
  });

  test("upper halves of address registers don't count", () => {
    const { vcpu, read, data } = run("mov ebp, 300\nl: mov [eax+4], ebp\nmov edx, [eax+4]\ndec ebp\njnz l", (regs) => {
      regs[RAX] = 0xdeadbeef00000000n | DATA;
    });
    expect([read(data, 4), vcpu.regs[RDX], vcpu.regs[RBP]]).toEqual([1, 1n, 0n]);
  });

  test("the stack wraps in pushes, pops, calls, returns and leave", () => {
    const loop =
      "mov ecx, 300\nl: xor esp, esp\npush ecx\npush 5\npop eax\npop edx\ncall f\nmov ebp, 0xfffffffc\nleave\ndec ecx\njnz l";
    const { vcpu, top, read } = run(`${loop}\njmp e\nf: ret\ne: nop`);
    expect([vcpu.regs[RAX], vcpu.regs[RDX], vcpu.regs[RSP]]).toEqual([5n, 1n, 0n]);
    expect(read(top, 0xff8)).toBe(5);
    expect(vcpu.regs[RBP]).toBe(BigInt(read(top, 0xffc)));
  });

  test("pushes, pops, calls, returns and leave add the base of SS", () => {
    const loop =
      "mov ecx, 300\nl: mov esp, 0x200\npush ecx\npush 5\npop eax\npop edx\ncall f\nmov ebp, 0x1fc\nleave\ndec ecx\njnz l";
    const { vcpu, data, read } = run(`${loop}\njmp e\nf: ret\ne: nop`, () => {
      stage.engine.memory.quads[(STATE.segmentBase + 16) / 8] = DATA;
    });
    expect([vcpu.regs[RAX], vcpu.regs[RDX], vcpu.regs[RSP], read(data, 0x1f8)]).toEqual([5n, 1n, 0x200n, 5]);
    expect(vcpu.regs[RBP]).toBe(BigInt(read(data, 0x1fc)));
  });

  test("code goes on at 0 behind the last byte, and branches wrap both ways", () => {
    // At 0: back to the top; from there by a branch or over the end, until ECX is 0.
    const bottom = "dec ecx\njz e\njmp 0xfffffff0\ne: int3";
    const root = stage.frame();
    const [first, last] = [stage.frame(), stage.frame()];
    stage.map(root, 0n, first);
    stage.map(root, TOP, last);
    stage.patch(first, bottom, 0n, 32);
    stage.patch(last, "inc eax\ntest al, 1\njz 0\njmp 0xfffffffe", TOP + 0xff0n, 32);
    stage.patch(last, "nop\nnop", TOP + 0xffen, 32);
    const vcpu = stage.vcpu(root, TOP + 0xff0n);
    vcpu.mode = 32;
    vcpu.selectors.set([SELECTOR.data, SELECTOR.code32, SELECTOR.data, SELECTOR.data, 0, 0]);
    vcpu.regs[RCX] = 400n;
    const exit = stage.run(vcpu, 1_000_000);
    expect([exit.reason, exit.vector, vcpu.regs[RAX], vcpu.regs[RCX]]).toEqual([EXIT.INTERRUPT, 3, 400n, 0n]);
    expect(vcpu.rip).toBeLessThan(16n);
  });
});
