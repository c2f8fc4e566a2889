import { afterEach, describe, expect, test, vi } from "vitest";
import { Comparer } from "../agreement/compare.ts";
import { fillWithNoise, generateNoise, NOISES } from "../agreement/noise.ts";
import { Random } from "../agreement/random.ts";
import { Stage } from "../agreement/stage.ts";
import { Engine } from "./engine.ts";
import { EXIT } from "./index.ts";
import { RECORD } from "./layout.ts";

const CODE = 0xc00000n;
const DATA = 0xa00000n;
/** Bytes of WebAssembly that a region may have: its guest instructions are limited, and so is what each becomes. */
const MODULE_LIMIT = 512 * 1024;

describe("modules", () => {
  afterEach(() => vi.unstubAllGlobals());

  test.each(NOISES)(
    "whatever %s stand in a page, each module that is made of it is valid, and not too long",
    (noise) => {
      const stage = new Stage("translated");
      const sizes: number[] = [];
      // The engine's own compiler throws for an invalid module, and so would this test.
      vi.stubGlobal("WebAssembly", {
        ...Object.fromEntries(
          Object.getOwnPropertyNames(WebAssembly).map((key) => [key, Reflect.get(WebAssembly, key)]),
        ),
        Module: new Proxy(WebAssembly.Module, {
          construct(target, [bytes]) {
            sizes.push(bytes.length);
            return new target(bytes);
          },
        }),
      });
      let seed = 1;
      for (; seed <= 30; seed++) {
        const r = new Random(seed * 31);
        const frame = stage.frame();
        const { bytes } = stage.engine.memory;
        fillWithNoise(bytes.subarray(frame * 4096, frame * 4096 + 4096), noise, r);
        for (let offset = r.below(20); offset < 4096; offset += 1 + r.below(60))
          stage.engine.translator.translate(frame, offset);
        // Written over and translated anew, as a just-in-time compiler's page is.
        fillWithNoise(bytes.subarray(frame * 4096 + 1000, frame * 4096 + 2000), noise, r);
        stage.engine.frames.written(frame);
        for (let offset = 900; offset < 2100; offset += 1 + r.below(90))
          stage.engine.translator.translate(frame, offset);
      }
      expect(sizes.length).toBeGreaterThan(noise === "bytes" ? 40 : 100);
      expect(Math.max(...sizes)).toBeLessThan(MODULE_LIMIT);
    },
  );
});

test("noise is executed without an exception of ours, and to the same end in all ways", () => {
  let comparer = new Comparer();
  for (let seed = 1; seed <= 24; seed++) {
    if (seed % 40 === 0) comparer = new Comparer();
    const disagreement = comparer.compare(generateNoise(seed));
    expect(disagreement, `seed ${seed}`).toBeUndefined();
  }
});

describe("nothing grows without bound", () => {
  test("decoded code starts anew when its memory is full, and what runs goes on", () => {
    const stage = new Stage("interpreted");
    const root = stage.frame();
    // Rewrites an instruction behind which much is decoded, over and over.
    const tail = "lea rsi, [rsi+rdi+1]\n".repeat(44);
    stage.map(
      root,
      CODE,
      stage.code(
        `again:\ninc byte ptr [rip+patch+1]\npatch:\n.byte 0x05, 1, 0, 0, 0\n${tail}\ndec rcx\njnz again\nint3`,
        CODE,
      ),
    );
    const vcpu = stage.vcpu(root, CODE);
    const { layout, code } = stage.engine;
    const rounds = Math.ceil((layout.recordsEnd - layout.records) / RECORD.size / 40);
    vcpu.regs[1] = BigInt(rounds);
    const { generation } = code;
    const exit = stage.run(vcpu, 100_000_000);
    expect([exit.reason, vcpu.regs[1]]).toEqual([EXIT.INTERRUPT, 0n]);
    expect(code.generation).toBeGreaterThan(generation);
    // 2 + 3 + …, each as a byte.
    let sum = 0;
    for (let round = 1; round <= rounds; round++) sum = (sum + ((round + 1) & 255)) >>> 0;
    expect(vcpu.regs[0]).toBe(BigInt(sum));
  });

  test("regions are dropped when there are too many", () => {
    const stage = new Stage("translated", 32 << 20);
    const { translator, exports } = stage.engine;
    const root = stage.frame();
    const before = exports.table.length;
    for (let page = 0; page < 3700; page++) {
      const frame = stage.code(`mov eax, ${page}\nadd eax, ecx\nint3`, CODE);
      expect(translator.translate(frame, 0)).toBe(true);
      if (page % 500 !== 0) continue;
      stage.map(root, CODE, frame);
      stage.engine.tlb.flushPage(CODE);
      const vcpu = stage.vcpu(root, CODE);
      vcpu.regs[1] = 7n;
      expect([vcpu.run(100).reason, vcpu.regs[0]]).toEqual([EXIT.INTERRUPT, BigInt(page + 7)]);
    }
    expect(translator.translated).toBe(3700);
    expect(exports.table.length - before).toBeLessThan(3200);
  });

  test("code in more frames than there are tables for", () => {
    const stage = new Stage("interpreted", 24 << 20);
    const root = stage.frame();
    const vcpu = stage.vcpu(root, CODE);
    for (let page = 0; page < 5000; page++) {
      const frame = stage.code(`mov eax, ${page}\nint3`, CODE);
      stage.map(root, CODE, frame);
      stage.engine.tlb.flushPage(CODE);
      vcpu.rip = CODE;
      expect([vcpu.run(100).reason, vcpu.regs[0]]).toEqual([EXIT.INTERRUPT, BigInt(page)]);
    }
    expect(stage.engine.code.generation).toBeGreaterThan(0);
  });
});

test("registers with any value, at any place, with any flags: an engine answers, and never throws", () => {
  const r = new Random(99);
  const stage = new Stage("translated");
  const root = stage.frame();
  const code = stage.frame();
  stage.map(root, CODE, code);
  stage.map(root, DATA, stage.frame());
  stage.map(root, 0n, stage.frame());
  const vcpu = stage.vcpu(root, CODE);
  const edges = [
    0n,
    1n,
    0x7fffffffffffn,
    0x800000000000n,
    0xffff800000000000n,
    2n ** 64n - 1n,
    0xffffffffn,
    CODE,
    DATA,
  ];
  const memory = new Uint8Array(512);
  for (let round = 0; round < 4000; round++) {
    if (round % 8 === 0) {
      const { bytes } = stage.engine.memory;
      fillWithNoise(bytes.subarray(code * 4096, code * 4096 + 4096), r.pick(NOISES), r);
      stage.engine.frames.written(code);
    }
    for (let i = 0; i < 16; i++) vcpu.regs[i] = r.chance(60) ? r.pick(edges) + BigInt(r.below(3)) - 1n : r.wide();
    vcpu.rip = r.chance(80) ? CODE + BigInt(r.below(4096)) : r.pick(edges);
    vcpu.rflags = r.wide();
    vcpu.mode = r.chance(80) ? 64 : 32;
    vcpu.cr0 = r.chance(90) ? 0x80050033n : r.wide();
    vcpu.cr4 = r.chance(90) ? 0n : r.wide();
    const exit = r.chance(20) ? vcpu.step() : vcpu.run(1 + r.below(300));
    expect(Object.values(EXIT)).toContain(exit.reason);
    expect(exit.vector).toBeLessThan(256);
    vcpu.saveFpu(memory);
  }
  expect(stage.engine).toBeInstanceOf(Engine);
});
