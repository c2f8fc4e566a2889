import { assemble } from "@paravirt/x86";
import { expect, test } from "vitest";
import { createStepBench } from "./bench.ts";
import { resetCase, type StepCase, type StepOutcome } from "./case.ts";

const bench = createStepBench();
const DATA = 0x600000n;

/** The case of one line of assembly (or of bytes) with some of its state set. */
function caseOf(code: string | readonly number[], change: (test: StepCase) => void = () => {}): StepCase {
  const made = resetCase();
  made.at = 0x400000n;
  change(made);
  made.code =
    typeof code === "string" ? assemble(code, { address: made.at, mode: made.mode }).bytes : Uint8Array.from(code);
  return made;
}

/** Both tiers' answer, which must be the same. */
function run(made: StepCase): StepOutcome {
  const outcome = bench.run(made, 0);
  expect(bench.run(made, 1)).toEqual(outcome);
  return outcome;
}

const page = (at: bigint, writable = true, data: readonly number[] = []) => ({
  at,
  data: Uint8Array.from(data),
  writable,
});

test("a register instruction changes registers, flags and RIP, and nothing else", () => {
  const made = caseOf("add rax, rbx", (test) => {
    test.regs[0] = 5n;
    test.regs[3] = 0xfffffffffffffffbn;
  });
  const { rip, exception, regs, rflags, changes, mxcsr, fpu } = run(made);
  expect([rip, exception, regs[0], regs[3], rflags, changes]).toEqual([
    0x400003n,
    undefined,
    0n,
    0xfffffffffffffffbn,
    0x57n,
    [],
  ]);
  expect([mxcsr, fpu.cw, fpu.sw, fpu.tw]).toEqual([0x1f80, 0x37f, 0, 0]);
});

test("changed bytes are runs in order of address, joined across a page border; equal bytes are no change", () => {
  const made = caseOf("mov [rbx], eax", (test) => {
    test.regs[0] = 0x11002200n;
    test.regs[3] = DATA + 0xffen;
    test.pages = [page(DATA + 4096n), page(DATA)];
  });
  expect(run(made).changes).toEqual([
    { at: DATA + 0xfffn, bytes: Uint8Array.from([0x22]) },
    { at: DATA + 0x1001n, bytes: Uint8Array.from([0x11]) },
  ]);
  made.regs[0] = 0x11223344n;
  expect(run(made).changes).toEqual([{ at: DATA + 0xffen, bytes: Uint8Array.from([0x44, 0x33, 0x22, 0x11]) }]);
});

test("nothing but the given pages is mapped: a page of an earlier case is gone, a read-only one refuses writes", () => {
  const made = caseOf("mov [rbx], eax", (test) => {
    test.regs[3] = DATA;
  });
  expect(run(made).exception).toEqual({ vector: 14, error: 6, cr2: DATA });
  made.pages = [page(DATA, false)];
  expect(run(made).exception).toEqual({ vector: 14, error: 7, cr2: DATA });
  made.pages = [page(DATA)];
  expect(run(made).exception).toBeUndefined();
  made.pages = [];
  expect(run(made).exception).toEqual({ vector: 14, error: 6, cr2: DATA });
});

test("the instruction sees its own page: what lies around it, and what it writes there", () => {
  const load = caseOf("mov rax, [rip + 0]", (test) => {
    test.pages = [page(0x400000n, false, [0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8])];
  });
  expect(run(load).regs[0]).toBe(0x0807060504030201n);
  const store = caseOf("mov [rip - 7], rax", (test) => {
    test.pages = [page(0x400000n)];
  });
  expect(run(store).changes.length).toBeGreaterThan(0);
  store.pages = [page(0x400000n, false)];
  expect(run(store).exception).toEqual({ vector: 14, error: 7, cr2: 0x400000n });
});

test("an instruction may cross into a page of its own or of the case's", () => {
  const made = caseOf("mov eax, 0x11223344", (test) => {
    test.at = 0x400ffdn;
  });
  expect([run(made).rip, run(made).regs[0]]).toEqual([0x401002n, 0x11223344n]);
  // Three bytes of five, and no page for the rest.
  made.code = made.code.slice(0, 3);
  expect(run(made).exception).toEqual({ vector: 14, error: 0x14, cr2: 0x401000n });
});

test("a repeated string instruction runs to its end, in the upper half too, and faults where its pages end", () => {
  const made = caseOf("rep stosb", (test) => {
    test.regs[0] = 0x5an;
    test.regs[1] = 5000n;
    test.regs[7] = 0xffff800000000000n;
    test.pages = [page(0xffff800000000000n), page(0xffff800000001000n)];
  });
  const whole = run(made);
  expect([whole.exception, whole.regs[1], whole.regs[7], whole.changes.length]).toEqual([
    undefined,
    0n,
    0xffff800000001388n,
    1,
  ]);
  made.pages = made.pages.slice(0, 1);
  const part = run(made);
  expect(part.exception).toEqual({ vector: 14, error: 6, cr2: 0xffff800000001000n });
  expect([part.rip, part.regs[1], part.changes[0]?.bytes.length]).toEqual([0x400000n, 904n, 4096]);
});

test("branches go where they should, to themselves and into their own bytes too, and execute nothing there", () => {
  for (const [code, rip] of [
    [[0xeb, 0xfe], 0x400000n],
    [[0xeb, 0xff], 0x400001n],
    [[0xeb, 0x10], 0x400012n],
    [[0xe9, 0, 0x10, 0, 0], 0x401005n],
  ] as const)
    expect(run(caseOf(code)).rip).toBe(rip);
  const made = caseOf("jmp rax", (test) => {
    test.regs[0] = DATA;
    test.pages = [page(DATA, true, [0xf4])];
  });
  expect([run(made).rip, run(made).exception]).toEqual([DATA, undefined]);
});

test("traps and faults of user mode are the processor's", () => {
  const of = (...code: number[]) => {
    const { rip, exception } = run(caseOf(code));
    return [rip - 0x400000n, exception?.vector, exception?.error];
  };
  expect(of(0xcc)).toEqual([1n, 3, 0]);
  expect(of(0xcd, 3)).toEqual([2n, 3, 0]);
  expect(of(0xf1)).toEqual([1n, 1, 0]);
  expect(of(0x48, 0xf1)).toEqual([2n, 1, 0]);
  expect(of(0xcd, 1)).toEqual([0n, 13, 10]);
  expect(of(0xcd, 0x80)).toEqual([0n, 13, 0x402]);
  expect(of(0xf4)).toEqual([0n, 13, 0]);
  expect(of(0xee)).toEqual([0n, 13, 0]);
  expect(of(0x0f, 0x0b)).toEqual([0n, 6, 0]);
  expect(of(0x0f, 0x05)).toEqual([0n, 6, 0]);
  expect(of(0x0f, 0x34)).toEqual([0n, 13, 0]);
  expect(of(0xf7, 0xf1)).toEqual([0n, 0, 0]);
  expect(of(...Array(15).fill(0x66))).toEqual([0n, 13, 0]);
});

test("TF traps after the instruction", () => {
  const made = caseOf("nop", (test) => {
    test.rflags = 0x102n;
  });
  expect([run(made).rip, run(made).exception, run(made).rflags]).toEqual([
    0x400001n,
    { vector: 1, error: 0, cr2: 0n },
    0x102n,
  ]);
});

test("x87 and SSE state goes in and out, ST(0) first whatever TOP is", () => {
  const one = [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f];
  const made = caseOf("fadd st, st(1)", (test) => {
    test.fpu = { cw: 0x37f, sw: 0x3000, tw: 0xc0, st: Uint8Array.from([...one, ...one, ...Array(60).fill(7)]) };
    test.xmm.fill(0xab, 240);
  });
  const { fpu, xmm } = run(made);
  expect([...fpu.st.subarray(0, 20)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0x40, ...one]);
  expect([fpu.sw, fpu.tw, xmm[240], xmm[239]]).toEqual([0x3000, 0xc0, 0xab, 0]);
});

test("compatibility mode has its own decoding, 32-bit addresses and stack", () => {
  const made = caseOf([0x40], (test) => {
    test.mode = 32;
    test.regs[0] = 7n;
  });
  expect([run(made).rip, run(made).regs[0]]).toEqual([0x400001n, 8n]);
  const push = caseOf([0x50], (test) => {
    test.mode = 32;
    test.regs[0] = 0x11223344n;
    test.regs[4] = DATA + 4n;
    test.pages = [page(DATA)];
  });
  expect(run(push).changes).toEqual([{ at: DATA, bytes: Uint8Array.from([0x44, 0x33, 0x22, 0x11]) }]);
});

test("far jumps change the mode with the segment, whatever the selector's RPL, and data segments are none to jump to", () => {
  const jump = (selector: number) => {
    const { rip, exception } = run(
      caseOf([0xff, 0x2b], (test) => {
        test.regs[3] = DATA;
        test.pages = [page(DATA, false, [0, 9, 0xc0, 0, selector, 0])];
      }),
    );
    return exception === undefined ? rip : [exception.vector, exception.error];
  };
  expect(jump(0x23)).toBe(0xc00900n);
  expect(jump(0x20)).toBe(0xc00900n);
  expect(jump(0x33)).toBe(0xc00900n);
  expect(jump(0x2b)).toEqual([13, 0x28]);
  expect(jump(0)).toEqual([13, 0]);
});

test("IRET returns to a segment with its flags, and faults while NT is set", () => {
  const quads = [0xc00900n, 0x33n, 0x247fd7n, DATA + 0x800n, 0x2bn];
  const made = caseOf("iretq", (test) => {
    test.regs[4] = DATA;
    test.pages = [{ at: DATA, data: new Uint8Array(new BigUint64Array(quads).buffer), writable: true }];
  });
  const { rip, regs, rflags, exception } = run(made);
  // IOPL and IF are not user mode's to change.
  expect([rip, regs[4], rflags, exception]).toEqual([0xc00900n, DATA + 0x800n, 0x244dd7n, undefined]);
  made.rflags = 0x4002n;
  expect(run(made).exception).toEqual({ vector: 13, error: 0, cr2: 0n });
});

test("tier 1 executes common instructions in translated code", () => {
  for (const line of ["add rax, rbx", "mov eax, [rax]", "addsd xmm0, xmm1", "imul rcx, rdx", "jmp rax"])
    expect([line, bench.translates(caseOf(line))]).toEqual([line, true]);
  expect(bench.translates(caseOf("cpuid"))).toBe(false);
});

test("thousands of scattered pages, case after case, leave room for the next", () => {
  for (let round = 0; round < 12; round++) {
    const made = caseOf("nop", (test) => {
      test.pages = Array.from({ length: 700 }, (_, i) => page(BigInt(round * 700 + i) << 30n));
    });
    expect(bench.run(made).rip).toBe(0x400001n);
  }
});

test("a case that no processor can be in is the caller's mistake", () => {
  expect(() => bench.run(caseOf([]))).toThrow("0 bytes of code: 1 to 15");
  expect(() => bench.run(caseOf("nop", (test) => (test.pages = [page(DATA + 1n)])))).toThrow("at 0x600001: up to 4096");
  expect(() => bench.run(caseOf("nop", (test) => (test.mxcsr = 0x10000)))).toThrow("MXCSR");
});

test("segments that one case loads are not there for the next", () => {
  bench.run(caseOf("mov ds, eax"));
  const made = caseOf([0x8b, 0x03], (test) => {
    test.mode = 32;
    test.regs[3] = DATA;
    test.pages = [page(DATA, false, [1])];
  });
  expect([run(made).exception, run(made).regs[0]]).toEqual([undefined, 1n]);
});
