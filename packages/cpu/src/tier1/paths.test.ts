import { describe, expect, test } from "vitest";
import { Stage } from "../../agreement/stage.ts";
import { ENGINE, RECORD } from "../layout.ts";
import { EXIT } from "../vcpu.ts";
import { PathTrace } from "./paths.ts";

const CODE = 0xc00000n;
const NEXT = CODE + 4096n;
const STACK = 0xb00000n;
const RAX = 0;
const RCX = 1;
const RSP = 4;
/** Long enough that each part is worth a translation. */
const LOOP = `again:
${"add rdx, 3\n".repeat(8)}
call 0xc01000
xor rbx, rdx
dec rcx
jnz again
int3`;
/** Instructions of the loop. */
const LOOP_LENGTH = 12;
const function_ = (step: number, fill: number) => `lea rax, [rax+${step}]
${"xor rsi, rdi\n".repeat(fill)}
ret`;

/** A loop in one page that calls a function of `fill` instructions and two more in the next one, translated together. */
function prepare(fill: number) {
  const stage = new Stage("translated");
  const { engine } = stage;
  const root = stage.frame();
  const [first, second] = [stage.code(LOOP, CODE), stage.code(function_(1, fill), NEXT)];
  stage.map(root, CODE, first);
  stage.map(root, NEXT, second);
  stage.map(root, STACK, stage.frame());
  const vcpu = stage.vcpu(root, CODE);
  vcpu.regs[RSP] = STACK + 4096n;
  const start = (times: number) => {
    vcpu.rip = CODE;
    vcpu.regs[RAX] = 0n;
    vcpu.regs[RCX] = BigInt(times);
    const exit = stage.run(vcpu, 4_000_000);
    expect([exit.reason, exit.vector]).toEqual([EXIT.INTERRUPT, 3]);
    return vcpu.regs[RAX];
  };
  // Once round, so that all of it is decoded.
  start(1);
  const trace = new PathTrace();
  for (let times = 0; times < 4; times++) {
    trace.note(Number(CODE), 0, 9);
    trace.note(Number(NEXT), 0, fill + 2);
    trace.note(Number(CODE) + 37, 0, 3);
  }
  const frames = new Map([
    [Number(CODE >> 12n), first],
    [Number(NEXT >> 12n), second],
  ]);
  const translate = () => {
    engine.translator.beginTrace();
    return engine.translator.translatePaths(trace, (linear) => frames.get(linear) ?? -1);
  };
  const isTranslated = (frame: number) => {
    const record = engine.code.recordAt(frame, 64, 0);
    return record !== 0 && engine.memory.words[(record + RECORD.hot) / 4]! >= 1024;
  };
  return { stage, engine, root, first, second, vcpu, start, trace, translate, isTranslated };
}

describe.each([
  { what: "that calls a function", fill: 70, isCopied: false },
  { what: "with a copy of what it calls", fill: 8, isCopied: true },
])("a path over two pages $what", ({ fill, isCopied }) => {
  test("is translated, and computes what the interpreter does", () => {
    const { engine, start, translate, first, second, isTranslated } = prepare(fill);
    const before = engine.stats.blocksTranslated;
    const length = fill + 2;
    expect(translate()).toBe(LOOP_LENGTH + (isCopied ? 2 * length : length));
    expect(engine.stats.blocksTranslated).toBe(before + (isCopied ? 2 : 1));
    expect([isTranslated(first), isTranslated(second)]).toEqual([true, true]);
    expect(start(1000)).toBe(1000n);
  });

  test("is not translated again while nothing of it is new", () => {
    const { engine, start, translate, first, isTranslated } = prepare(fill);
    translate();
    const before = engine.stats.blocksTranslated;
    expect(translate()).toBe(0);
    expect(engine.stats.blocksTranslated).toBe(before);
    expect(isTranslated(first)).toBe(true);
    expect(start(10)).toBe(10n);
  });

  test("goes elsewhere when another frame is mapped in the middle of it", () => {
    const { stage, engine, root, start, translate, first, isTranslated } = prepare(fill);
    translate();
    expect(start(2)).toBe(2n);
    stage.map(root, NEXT, stage.code(function_(5, fill), NEXT));
    engine.tlb.flushPage(NEXT);
    expect(start(2)).toBe(10n);
    expect(isTranslated(first)).toBe(true);
  });

  test("is forgotten when the code of either page changes", () => {
    for (const which of ["first", "second"] as const) {
      const prepared = prepare(fill);
      const { stage, engine, start, translate, first, second, isTranslated } = prepared;
      translate();
      expect(start(10)).toBe(10n);
      if (which === "second") stage.patch(second, function_(7, fill), NEXT);
      engine.frames.written(prepared[which]);
      expect([isTranslated(first), isTranslated(second)]).toEqual([false, isCopied && which === "first"]);
      expect(start(10)).toBe(which === "second" ? 70n : 10n);
    }
  });

  test("leaves with the right address where the next page can't be executed", () => {
    const { stage, engine, root, vcpu, translate } = prepare(fill);
    translate();
    stage.map(root, NEXT, 0, 0n);
    engine.tlb.flushPage(NEXT);
    vcpu.rip = CODE;
    vcpu.regs[RCX] = 5n;
    const exit = stage.run(vcpu, 1000);
    expect([exit.reason, exit.vector, exit.address, vcpu.rip]).toEqual([EXIT.FAULT, 14, NEXT, NEXT]);
  });

  test("is found by itself when it takes the time", () => {
    const { engine, start } = prepare(fill);
    expect(start(40_000)).toBe(40_000n);
    const { words } = engine.memory;
    const entered = words[ENGINE.entered / 4]!;
    const inRegions = words[ENGINE.inRegions / 4]!;
    const { instructions } = engine.stats;
    start(10_000);
    const executed = engine.stats.instructions - instructions;
    expect(words[ENGINE.inRegions / 4]! - inRegions).toBeGreaterThan(executed * 0.9);
    // Samples leave a region every forty instructions, calls don't.
    expect(words[ENGINE.entered / 4]! - entered).toBeLessThan(executed / 20);
  });
});

describe("how alike two traces are", () => {
  const traceOf = (...places: number[]) => {
    const trace = new PathTrace();
    for (let times = 0; times < 3; times++) for (const place of places) trace.note(place, 0, 10);
    return trace;
  };

  test.each([
    [traceOf(1, 2), traceOf(1, 2), 1],
    [traceOf(1, 2), traceOf(3), 0],
    [traceOf(1, 2, 3, 4), traceOf(2, 9), 0.25],
    [traceOf(), traceOf(1), 0],
  ])("case %#", (trace, earlier, likeness) => {
    expect(trace.likeness(earlier)).toBe(likeness);
  });
});
