import { ParavirtError } from "@paravirt/core";
import type {
  Abi,
  AbiExpression,
  FieldNames,
  FieldTable,
  Partially,
  ScalarType,
  TypeExpression,
  ValueOf,
} from "./layout-types.ts";
import { type ScalarCodec, scalarCodecs } from "./scalar-codecs.ts";
import { STRUCTS, type StructName, type StructTable } from "./structs.ts";

/** The decoded form of a structure in one ABI. */
export type StructValue<N extends StructName, A extends Abi = "x86_64"> = ValueOf<StructTable[N], A, StructTable>;

/** Where a structure's fields lie in one ABI, and how to read and write them. Made by {@link layout}. */
export interface Layout<N extends StructName, A extends Abi> {
  /** C tag of the structure. */
  readonly name: N;
  /** The ABI of this layout. */
  readonly abi: A;
  /** Bytes of one structure, padding at its end included: C's `sizeof`. */
  readonly size: number;
  /** Alignment in bytes: C's `_Alignof`. */
  readonly align: number;
  /** Byte offsets of the fields, for code that reads a `DataView` itself. */
  readonly offsets: { readonly [K in FieldNames<StructTable[N], A>]: number };
  /**
   * Byte offset of a nested field, written as in C: `"console.domU.mfn"`, `"vcpu_info[1].time.version"`.
   * Throws `BAD_ARGUMENT` when there is no such field or element.
   */
  offsetOf(path: string): number;
  /**
   * Decodes the structure at byte `at`. Members of a union are all decoded. Nothing in the result points into `view`.
   * Throws `OUT_OF_RANGE` when the structure does not fit into the view.
   */
  read(view: DataView, at: number): StructValue<N, A>;
  /**
   * Writes the fields that `value` has at byte `at`; all other bytes, padding too, keep what they were.
   * Throws, having written nothing, `OUT_OF_RANGE` when the structure does not fit into the view, and `BAD_ARGUMENT`
   * when a value does not fit its field or the structure has no such field.
   */
  write(view: DataView, at: number, value: Partially<StructValue<N, A>>): void;
}

interface Field {
  readonly name: string;
  readonly offset: number;
  readonly node: Node;
}

/** A type expression with its sizes settled for one ABI. */
type Node =
  | {
      readonly kind: "scalar";
      readonly size: number;
      readonly align: number;
      readonly codec: ScalarCodec;
      readonly type: ScalarType;
    }
  | { readonly kind: "text" | "bytes"; readonly size: number; readonly align: number }
  | {
      readonly kind: "array";
      readonly size: number;
      readonly align: number;
      readonly element: Node;
      readonly count: number;
    }
  | { readonly kind: "record"; readonly size: number; readonly align: number; readonly fields: readonly Field[] };

type Cache = Map<string, Node>;
const settled: Readonly<Record<Abi, Cache>> = { x86_64: new Map(), x86_32: new Map() };
const layouts = new Map<string, unknown>();

function isScalar(expression: string): expression is ScalarType {
  return Object.hasOwn(scalarCodecs, expression);
}

/** Settles `expression`, or `undefined` when `abi` does not have it. */
function settle(expression: TypeExpression, abi: Abi): Node | undefined {
  if (typeof expression === "string") {
    if (isScalar(expression)) {
      const codec = scalarCodecs[expression][abi];
      return { kind: "scalar", size: codec.size, align: codec.align, codec, type: expression };
    }
    const known = settled[abi].get(expression);
    if (known !== undefined) return known;
    const table = (STRUCTS as Readonly<Record<string, TypeExpression>>)[expression];
    if (table === undefined) throw new ParavirtError("BUG", `no structure or scalar is named ${expression}`);
    const node = settle(table, abi);
    if (node !== undefined) settled[abi].set(expression, node);
    return node;
  }
  if (isArray(expression)) return settleArray(expression[0], expression[1], abi);
  if ("struct" in expression) return settleRecord(expression.struct as FieldTable, abi, false, "packed" in expression);
  if ("union" in expression) return settleRecord(expression.union as FieldTable, abi, true, false);
  const own = (expression as AbiExpression)[abi];
  return own === undefined ? undefined : settle(own, abi);
}

function isArray(expression: TypeExpression): expression is readonly [TypeExpression, number] {
  return Array.isArray(expression);
}

function settleArray(of: TypeExpression, count: number, abi: Abi): Node {
  if (of === "char") return { kind: "text", size: count, align: 1 };
  if (of === "u8") return { kind: "bytes", size: count, align: 1 };
  const element = settle(of, abi);
  if (element === undefined) throw new ParavirtError("BUG", `an array element does not exist in ${abi}`);
  return { kind: "array", size: element.size * count, align: element.align, element, count };
}

function settleRecord(table: FieldTable, abi: Abi, union: boolean, packed: boolean): Node {
  const fields: Field[] = [];
  let end = 0;
  let align = 1;
  for (const [name, expression] of Object.entries(table)) {
    const node = settle(expression, abi);
    if (node === undefined) continue;
    const alignment = packed ? 1 : node.align;
    const offset = union ? 0 : roundUp(end, alignment);
    fields.push({ name, offset, node });
    end = Math.max(end, offset + node.size);
    align = Math.max(align, alignment);
  }
  return { kind: "record", size: roundUp(end, align), align, fields };
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}

function decode(node: Node, view: DataView, at: number): unknown {
  switch (node.kind) {
    case "scalar":
      return node.codec.read(view, at);
    case "bytes":
      return new Uint8Array(view.buffer, view.byteOffset + at, node.size).slice();
    case "text": {
      let text = "";
      for (let index = 0; index < node.size; index++) {
        const code = view.getUint8(at + index);
        if (code === 0) break;
        text += String.fromCharCode(code);
      }
      return text;
    }
    case "array": {
      const values: unknown[] = [];
      for (let index = 0; index < node.count; index++)
        values.push(decode(node.element, view, at + index * node.element.size));
      return values;
    }
    case "record": {
      const value: Record<string, unknown> = {};
      for (const field of node.fields) value[field.name] = decode(field.node, view, at + field.offset);
      return value;
    }
  }
}

function reject(path: string, why: string): never {
  throw new ParavirtError("BAD_ARGUMENT", `${path}: ${why}`);
}

/** Checks `value` against `node` and collects the writes, so that a bad value changes nothing. */
function plan(node: Node, at: number, value: unknown, path: string, writes: ((view: DataView) => void)[]): void {
  switch (node.kind) {
    case "scalar": {
      const { codec } = node;
      const wrong = codec.check(value);
      if (wrong !== undefined) reject(path, wrong);
      writes.push((view) => codec.write(view, at, value as never));
      return;
    }
    case "bytes": {
      if (!(value instanceof Uint8Array)) reject(path, "takes a Uint8Array");
      if (value.length > node.size) reject(path, `${value.length} bytes do not fit into ${node.size}`);
      const copy = value.slice();
      writes.push((view) => new Uint8Array(view.buffer, view.byteOffset + at, node.size).set(copy));
      return;
    }
    case "text": {
      if (typeof value !== "string") reject(path, "takes a string");
      if (value.length > node.size) reject(path, `${value.length} characters do not fit into ${node.size} bytes`);
      for (let index = 0; index < value.length; index++) {
        if (value.charCodeAt(index) > 0xff) reject(path, `character ${index} is not a byte`);
      }
      writes.push((view) => {
        for (let index = 0; index < node.size; index++) {
          view.setUint8(at + index, index < value.length ? value.charCodeAt(index) : 0);
        }
      });
      return;
    }
    case "array": {
      if (!Array.isArray(value)) reject(path, "takes an array");
      if (value.length > node.count) reject(path, `${value.length} elements do not fit into ${node.count}`);
      for (let index = 0; index < value.length; index++) {
        plan(node.element, at + index * node.element.size, value[index], `${path}[${index}]`, writes);
      }
      return;
    }
    case "record": {
      if (typeof value !== "object" || value === null) reject(path, "takes an object");
      for (const [name, member] of Object.entries(value)) {
        if (member === undefined) continue;
        const field = node.fields.find((candidate) => candidate.name === name);
        if (field === undefined) reject(path, `has no field ${name}`);
        plan(field.node, at + field.offset, member, `${path}.${name}`, writes);
      }
    }
  }
}

function resolve(root: Node, name: string, path: string): number {
  let node = root;
  let offset = 0;
  for (const step of path.match(/[^.[\]]+|\[\d+\]/g) ?? []) {
    if (step.startsWith("[")) {
      const index = Number(step.slice(1, -1));
      const count =
        node.kind === "array" ? node.count : node.kind === "record" || node.kind === "scalar" ? 0 : node.size;
      if (index >= count) reject(`${name}.${path}`, `element ${index} of ${count}`);
      offset += index * (node.kind === "array" ? node.element.size : 1);
      if (node.kind === "array") node = node.element;
      continue;
    }
    const field: Field | undefined =
      node.kind === "record" ? node.fields.find((candidate) => candidate.name === step) : undefined;
    if (field === undefined) reject(`${name}.${path}`, `no field ${step}`);
    offset += field.offset;
    node = field.node;
  }
  return offset;
}

/**
 * Gives the layout of structure `name` in `abi`; repeated calls give the same object.
 * Throws `BAD_ARGUMENT` when this package does not know the structure or the ABI does not have it.
 */
export function layout<N extends StructName, A extends Abi>(name: N, abi: A): Layout<N, A> {
  const key = `${abi} ${name}`;
  const known = layouts.get(key);
  if (known !== undefined) return known as Layout<N, A>;
  if (!Object.hasOwn(STRUCTS, name)) throw new ParavirtError("BAD_ARGUMENT", `no structure is named ${name}`);
  const node = settle(name, abi);
  if (node === undefined || node.kind !== "record") {
    throw new ParavirtError("BAD_ARGUMENT", `structure ${name} does not exist in ${abi}`);
  }
  const { size, align } = node;
  function checkBounds(view: DataView, at: number): void {
    if (!Number.isInteger(at) || at < 0 || at + size > view.byteLength) {
      throw new ParavirtError(
        "OUT_OF_RANGE",
        `${size} bytes of ${name} at ${at} are outside a view of ${view.byteLength}`,
      );
    }
  }
  const made: Layout<N, A> = Object.freeze({
    name,
    abi,
    size,
    align,
    offsets: Object.freeze(Object.fromEntries(node.fields.map((field) => [field.name, field.offset]))) as Layout<
      N,
      A
    >["offsets"],
    offsetOf(path: string): number {
      return resolve(node, name, path);
    },
    read(view: DataView, at: number): StructValue<N, A> {
      checkBounds(view, at);
      return decode(node, view, at) as StructValue<N, A>;
    },
    write(view: DataView, at: number, value: Partially<StructValue<N, A>>): void {
      checkBounds(view, at);
      const writes: ((view: DataView) => void)[] = [];
      plan(node, at, value, name, writes);
      for (const write of writes) write(view);
    },
  });
  layouts.set(key, made);
  return made;
}

/** Lists every structure that exists in `abi`, in the order of its header. */
export function structNames(abi: Abi): StructName[] {
  return (Object.keys(STRUCTS) as StructName[]).filter((name) => settle(name, abi) !== undefined);
}

/** Where one field of a structure lies; see {@link describeFields}. */
export interface FieldDescription {
  /** The field, written as in C: `"console.domU.mfn"`. */
  readonly path: string;
  /** Bytes from the structure's start. */
  readonly offset: number;
  /** Bytes that the field takes. */
  readonly size: number;
  /** What the field holds; `undefined` for arrays, structures and unions. */
  readonly type: ScalarType | undefined;
}

/**
 * Lists every field of a structure in `abi`, nested ones after the one that holds them, elements of arrays excepted:
 * for dumps and for comparison with other descriptions. Empty when the ABI does not have the structure.
 */
export function describeFields(name: StructName, abi: Abi): FieldDescription[] {
  const found: FieldDescription[] = [];
  const walk = (node: Node, path: string, start: number): void => {
    if (node.kind !== "record") return;
    for (const field of node.fields) {
      const inner = path === "" ? field.name : `${path}.${field.name}`;
      const offset = start + field.offset;
      const type = field.node.kind === "scalar" ? field.node.type : undefined;
      found.push({ path: inner, offset, size: field.node.size, type });
      walk(field.node, inner, offset);
    }
  };
  const node = settle(name, abi);
  if (node !== undefined) walk(node, "", 0);
  return found;
}
