import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { createAnswerer } from "./commands/step.ts";

/** As users run it: the built program. */
const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;
const answer = [createAnswerer(0), createAnswerer(1)];

/** Both tiers' answer to a case, which must be the same. */
function ask(fields: object): Answer {
  const line = JSON.stringify(fields);
  const text = answer[0]!(line);
  expect(answer[1]!(line)).toBe(text);
  return JSON.parse(text);
}

interface Answer {
  readonly rip: string;
  readonly exception: { readonly vector: number; readonly error: string; readonly cr2: string } | null;
  readonly regs: Readonly<Record<string, string>>;
  readonly rflags: string;
  readonly xmm: readonly string[];
  readonly ymmh?: readonly string[];
  readonly mxcsr: string;
  readonly fpu: { readonly cw: string; readonly sw: string; readonly tw: string; readonly st: readonly string[] };
  readonly pages: readonly (readonly [string, string])[];
  readonly error?: string;
}

test("an answer has every field in full", () => {
  const { xmm, fpu, ...rest } = ask({
    code: "4801d8",
    at: "0x400000",
    regs: { rax: "0x5", rbx: "0xfffffffffffffffb" },
  });
  expect(rest).toEqual({
    rip: "0x400003",
    exception: null,
    regs: {
      ...Object.fromEntries(
        "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ").map((name) => [name, "0x0"]),
      ),
      rbx: "0xfffffffffffffffb",
    },
    rflags: "0x57",
    mxcsr: "0x1f80",
    pages: [],
  });
  expect(xmm).toEqual(Array(16).fill("0".repeat(32)));
  expect(fpu).toEqual({ cw: "0x37f", sw: "0x0", tw: "0x0", st: Array(8).fill("0".repeat(20)) });
});

test("upper halves of YMM registers are taken and given, and shown unasked only where they are not zero", () => {
  const all = (byte: string) => Array(16).fill(byte.repeat(16));
  const answered = ask({ code: "c5f5fec0", xmm: all("11"), ymmh: all("22") }); // vpaddd ymm0, ymm1, ymm0
  expect([answered.xmm[0], answered.ymmh?.[0], answered.ymmh?.[1]]).toEqual([
    "22".repeat(16),
    "44".repeat(16),
    "22".repeat(16),
  ]);
  // vpaddd xmm0, xmm1, xmm0 clears the upper half, paddd xmm0, xmm1 keeps it.
  expect(ask({ code: "c5f1fec0", ymmh: all("22") }).ymmh?.[0]).toBe("00".repeat(16));
  expect(ask({ code: "660ffec1", ymmh: all("22") }).ymmh?.[0]).toBe("22".repeat(16));
  expect(ask({ code: "c5f1fec0", xmm: all("11") }).ymmh).toBeUndefined();
  expect(ask({ code: "c4e37d18c001", xmm: all("11") }).ymmh?.[0]).toBe("11".repeat(16)); // vinsertf128 ymm0, ymm0, xmm0, 1
});

test("page data may be short, long, or begin within a page", () => {
  const load = (pages: object[]) => ask({ code: "488b03", regs: { rbx: "0x600ffc" }, pages });
  expect(load([{ at: "0x600ffc", data: "0102030405060708" }]).regs.rax).toBe("0x807060504030201");
  expect(load([{ at: "0x600000", data: "00".repeat(4096) }]).exception?.cr2).toBe("0x601000");
  expect(load([{ at: "0x600000", data: "11".repeat(8192) }]).regs.rax).toBe("0x1111111111111111");
  expect(load([{ at: "0x600000" }, { at: "0x601000", data: "22" }]).regs.rax).toBe("0x2200000000");
});

test("a bad line is answered with the field, its value and what it may be, and the next line is executed", () => {
  const told = (fields: object | string) =>
    JSON.parse(answer[0]!(typeof fields === "string" ? fields : JSON.stringify(fields))).error;
  expect(told("{")).toMatch(/^the line is not JSON: /);
  expect(told("[]")).toBe(
    "the line []: an object with code, at, mode, regs, rflags, xmm, ymmh, mxcsr, fpu, segments, pages",
  );
  expect(told({})).toBe("code nothing: 1 to 15 bytes in hex");
  expect(told({ code: "9" })).toBe('code "9": an even number of hex digits');
  expect(told({ code: "90".repeat(16) })).toBe(`code "${"90".repeat(16)}": 1 to 15 bytes in hex`);
  expect(told({ code: "90", mode: 16 })).toBe("mode 16: 64 or 32");
  expect(told({ code: "90", at: "0x800000000000" })).toBe('at "0x800000000000": canonical: bits 47 to 63 are equal');
  expect(told({ code: "90", mode: 32, at: "0x100000000" })).toBe('at "0x100000000": below 0x100000000 in mode 32');
  expect(told({ code: "90", regs: { eax: "0x0" } })).toMatch(/^regs has "eax" "0x0": one of rax, rcx/);
  expect(told({ code: "90", regs: { rax: -1 } })).toBe('regs.rax -1: 0 to 0xffffffffffffffff, as "0x…"');
  expect(told({ code: "90", rflags: "0x20002" })).toBe('rflags "0x20002": no bits but 0x3d7fd7');
  expect(told({ code: "90", mxcsr: "0x10000" })).toBe('mxcsr "0x10000": no bits but 0xffff');
  expect(told({ code: "90", xmm: ["00"] })).toBe('xmm[0] "00": 32 hex digits');
  expect(told({ code: "90", fpu: { tw: "0x100" } })).toBe('fpu.tw "0x100": 0 to 0xff, as "0x…"');
  expect(told({ code: "90", segments: { fsbase: "x" } })).toBe(
    'segments.fsbase "x": 0 to 0xffffffffffffffff, as "0x…"',
  );
  expect(told({ code: "90", pages: [{ at: "0x1000" }, { at: "0x1800" }] })).toBe(
    'pages[1].at "0x1800": the page at 0x1000 was given before',
  );
  expect(told({ code: "90", pages: [{ at: "0x1000", writable: 1 }] })).toBe("pages[0].writable 1: true or false");
  expect(told({ code: "90", pages: [{ at: "0x1000", data: "00".repeat(4096 * 1001) }] })).toBe(
    'pages[0].at "0x1000": at most 1000 pages',
  );
  expect(ask({ code: "90" }).rip).toBe("0xfff1");
});

test("recorded cases end as on the processor (AMD EPYC, family 19h), in both tiers", () => {
  const recorded = readFileSync(new URL("./__vectors__/step.jsonl", import.meta.url), "utf8")
    .trim()
    .split("\n");
  for (const line of recorded) {
    const { name, undefined: loose, case: given, after } = JSON.parse(line);
    const got = ask(given);
    const defined = 0xcd5n & ~BigInt(loose);
    expect({
      name,
      rip: got.rip,
      exception: got.exception,
      regs: Object.fromEntries(Object.entries(got.regs).filter(([key, value]) => value !== given.regs[key])),
      rflags: BigInt(got.rflags) & defined,
      xmm: got.xmm,
      mxcsr: got.mxcsr,
      fpu: got.fpu,
      bytes: Object.fromEntries(
        got.pages.flatMap(([at, hex]) =>
          Array.from(Buffer.from(hex, "hex"), (byte, index) => [`0x${(Number(at) + index).toString(16)}`, byte]),
        ),
      ),
    }).toEqual({ name, xmm: given.xmm, ...after, rflags: BigInt(after.rflags) & defined });
  }
  expect(recorded.length).toBeGreaterThan(100);
});

test("the command streams: one answer a line, in order, errors included, the last line without its end too", () => {
  const input = ['{"code":"40b07f"}', "", '{"code":"zz"}', '{"code":"cc"}'].join("\n");
  const { stdout, status } = spawnSync(process.execPath, [CLI, "step"], { input, encoding: "utf8" });
  const answers = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(answers.map(({ rip, error }) => rip ?? error)).toEqual([
    "0xfff3",
    'code "zz": an even number of hex digits',
    "0xfff1",
  ]);
  expect(status).toBe(0);
});
