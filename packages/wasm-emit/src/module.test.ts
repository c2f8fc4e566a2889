import fc from "fast-check";
import { expect, test } from "vitest";
import { ByteBuffer, CodeEmitter, ModuleBuilder, OP, type OpName, SIMD, type SimdName } from "./index.ts";

function compile(
  write: (e: CodeEmitter, module: ModuleBuilder) => void,
  parameters: ("i32" | "i64")[] = [],
  result: "i32" | "i64" = "i32",
) {
  const module = new ModuleBuilder();
  const index = module.declare({ parameters, results: [result] }, "f");
  const e = new CodeEmitter();
  e.begin(parameters);
  write(e, module);
  module.define(index, e);
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.toBytes() as Uint8Array<ArrayBuffer>));
  return instance.exports.f as (...args: (number | bigint)[]) => number | bigint;
}

test("a constant of any 64 bits comes back as it was given, as number, bigint or halves", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
      expect(compile((e) => e.i64(value), [], "i64")()).toBe(value);
      const low = Number(BigInt.asIntN(32, value));
      expect(compile((e) => e.i64Halves(low, Number(value >> 32n)), [], "i64")()).toBe(value);
      expect(compile((e) => e.i32(low))()).toBe(low);
    }),
    { numRuns: 60 },
  );
  expect(compile((e) => e.i64(2 ** 52 + 1), [], "i64")()).toBe(2n ** 52n + 1n);
});

test("branches find their label from any depth", () => {
  const f = compile(
    (e) => {
      const outer = e.block("i32");
      const inner = e.block();
      e.get(0).if();
      e.i32(7).br(outer);
      e.end();
      e.br(inner);
      e.end();
      e.i32(9).end();
    },
    ["i32"],
  );
  expect([f(1), f(0)]).toEqual([7, 9]);
});

test("br_table chooses by index and falls to the default past the end", () => {
  const f = compile(
    (e) => {
      const labels = [e.block(), e.block(), e.block()];
      e.get(0).brTable([labels[2]!, labels[1]!], labels[0]!);
      e.end();
      e.i32(0).return();
      e.end();
      e.i32(1).return();
      e.end();
      e.i32(2);
    },
    ["i32"],
  );
  expect([f(0), f(1), f(2), f(99)]).toEqual([0, 1, 2, 2]);
});

test("a temporary that was released is used again, locals of all types are declared", () => {
  const e = new CodeEmitter();
  e.begin(["i32"]);
  const first = e.temporary("i64");
  e.release("i64", first);
  expect(e.temporary("i64")).toBe(first);
  expect(e.temporary("v128")).toBe(first + 1);
});

test("a private table calls its functions and can be grown from outside", () => {
  const module = new ModuleBuilder();
  const type = module.type({ parameters: [], results: ["i32"] });
  const seven = module.declare({ parameters: [], results: ["i32"] }, "seven");
  const call = module.declare({ parameters: ["i32"], results: ["i32"] }, "call");
  module.setTable({ functions: [seven], minimum: 2, exportName: "table" });
  const e = new CodeEmitter();
  e.begin([]);
  e.i32(7);
  module.define(seven, e);
  e.begin(["i32"]);
  e.get(0).callIndirect(type);
  module.define(call, e);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.toBytes() as Uint8Array<ArrayBuffer>));
  const table = exports.table as WebAssembly.Table;
  expect((exports.call as (slot: number) => number)(0)).toBe(7);
  expect(table.length).toBe(2);
  table.set(table.grow(1), exports.seven);
  expect((exports.call as (slot: number) => number)(2)).toBe(7);
});

test("memory is imported with the limits that were asked for; bulk copies work", () => {
  const module = new ModuleBuilder();
  module.importMemory({ module: "e", name: "m", minimum: 1, maximum: 1 });
  const copy = module.declare({ parameters: ["i32", "i32", "i32"], results: [] }, "copy");
  const e = new CodeEmitter();
  e.begin(["i32", "i32", "i32"]);
  e.get(0).get(1).get(2).memoryCopy();
  module.define(copy, e);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.toBytes() as Uint8Array<ArrayBuffer>), {
    e: { m: memory },
  });
  const bytes = new Uint8Array(memory.buffer);
  bytes.set([1, 2, 3, 4], 100);
  (exports.copy as (...args: number[]) => void)(200, 100, 4);
  expect([...bytes.subarray(200, 204)]).toEqual([1, 2, 3, 4]);
});

test("every numeric instruction of the table is what the engine takes it for", () => {
  // The engine validates operand and result types: a wrong opcode is a different type or no instruction.
  for (const name of Object.keys(OP) as OpName[]) {
    const match =
      /^(i32|i64|f32|f64)_(eq|ne|lt|gt|le|ge|add|sub|mul|div|rem|and|or|xor|shl|shr|rotl|rotr|min|max|copysign)(_[su])?$/.exec(
        name,
      );
    if (!match) continue;
    const type = match[1] as "i32" | "i64" | "f32" | "f64";
    const compares = /^(eq|ne|lt|gt|le|ge)$/.test(match[2]!);
    const module = new ModuleBuilder();
    const index = module.declare({ parameters: [type, type], results: [compares ? "i32" : type] });
    const e = new CodeEmitter();
    e.begin([type, type]);
    e.get(0).get(1).op(name);
    module.define(index, e);
    expect(WebAssembly.validate(module.toBytes() as Uint8Array<ArrayBuffer>), name).toBe(true);
  }
  for (const name of Object.keys(SIMD) as SimdName[]) {
    const shapes = {
      unary: ["v128"],
      binary: ["v128", "v128"],
      ternary: ["v128", "v128", "v128"],
      shift: ["v128", "i32"],
    } as const;
    const splats = {
      i8x16_splat: "i32",
      i16x8_splat: "i32",
      i32x4_splat: "i32",
      i64x2_splat: "i64",
      f32x4_splat: "f32",
      f64x2_splat: "f64",
    } as const;
    const results = /any_true|all_true|bitmask/.test(name) ? "i32" : "v128";
    const parameters = name in splats ? [[splats[name as keyof typeof splats]]] : Object.values(shapes);
    const valid = parameters.some((list) => {
      const module = new ModuleBuilder();
      const index = module.declare({ parameters: list, results: [results] });
      const e = new CodeEmitter();
      e.begin(list);
      for (let i = 0; i < list.length; i++) e.get(i);
      e.simd(name);
      module.define(index, e);
      return WebAssembly.validate(module.toBytes() as Uint8Array<ArrayBuffer>);
    });
    expect(valid, name).toBe(true);
  }
});

test("a function without code is named, not emitted", () => {
  const module = new ModuleBuilder();
  module.declare({ parameters: [], results: [] });
  expect(() => module.toBytes()).toThrow("function 0 has no code");
});

test("a buffer grows without losing bytes", () => {
  const buffer = new ByteBuffer(1);
  for (let i = 0; i < 1000; i++) buffer.byte(i & 0xff);
  buffer.append(Uint8Array.of(1, 2, 3));
  expect(buffer.length).toBe(1003);
  expect(buffer.toBytes()[999]).toBe(999 & 0xff);
  expect(() => new ByteBuffer(0)).toThrow("a buffer of 0 bytes");
});
