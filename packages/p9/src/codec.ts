import { ParavirtError } from "@paravirt/core";
import { type FieldForm, P9_MESSAGES } from "./messages.ts";
import { decodeName, encodeName } from "./names.ts";

/** What a server tells a file by (13 bytes on the wire). */
export interface Qid {
  /** Folder (0x80), symbolic link (0x02) or anything else (0). */
  readonly type: number;
  /** Changes with the file's contents. */
  readonly version: number;
  /** The file's number: two that are equal are the same file. */
  readonly path: bigint;
}

interface FieldValues {
  readonly u8: number;
  readonly u16: number;
  readonly u32: number;
  readonly u64: bigint;
  readonly text: string;
  readonly texts: readonly string[];
  readonly qid: Qid;
  readonly qids: readonly Qid[];
  readonly data: Uint8Array;
}

type Rows = typeof P9_MESSAGES;

/** Name of a message: `Twalk`. */
export type P9MessageName = keyof Rows;

/** Fields of a message by its name. */
export type P9Fields<Name extends P9MessageName> = {
  readonly [Field in keyof Rows[Name]["fields"]]: Rows[Name]["fields"][Field] extends FieldForm
    ? FieldValues[Rows[Name]["fields"][Field]]
    : never;
};

/** A decoded message: its name, its tag, its fields. */
export type P9Message = {
  readonly [Name in P9MessageName]: { readonly name: Name; readonly tag: number; readonly fields: P9Fields<Name> };
}[P9MessageName];

/** Bytes before a message's fields: its size, type and tag. */
export const HEADER_SIZE = 7;

type Field = readonly [name: string, form: FieldForm];
interface Row {
  readonly name: P9MessageName;
  readonly type: number;
  readonly fields: readonly Field[];
}

const BY_NAME = new Map<string, Row>();
const BY_TYPE: (Row | undefined)[] = [];
for (const [name, { type, fields }] of Object.entries(P9_MESSAGES)) {
  const row: Row = { name: name as P9MessageName, type, fields: Object.entries(fields) as Field[] };
  BY_NAME.set(name, row);
  BY_TYPE[type] = row;
}

/** The parts of a message's header; `undefined` when there are fewer than 7 bytes. */
export function decodeHeader(bytes: Uint8Array): { size: number; type: number; tag: number } | undefined {
  if (bytes.length < HEADER_SIZE) return undefined;
  const size = (bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16) | (bytes[3]! << 24)) >>> 0;
  return { size, type: bytes[4]!, tag: bytes[5]! | (bytes[6]! << 8) };
}

/**
 * Decodes one whole message; `undefined` when it is none: a wrong size, an unknown type, fields that are cut short, bytes
 * after the last. Data fields are views of `bytes`.
 */
export function decodeMessage(bytes: Uint8Array): P9Message | undefined {
  const header = decodeHeader(bytes);
  const row = header === undefined ? undefined : BY_TYPE[header.type];
  if (header === undefined || row === undefined || header.size !== bytes.length) return undefined;
  const reader = new Reader(bytes);
  const fields: Record<string, unknown> = {};
  for (const [name, form] of row.fields) {
    // Older clients end Tfsync before this field.
    if (name === "datasync" && reader.at === bytes.length) fields[name] = 0;
    else fields[name] = reader.field(form);
  }
  if (reader.at !== bytes.length) return undefined;
  return { name: row.name, tag: header.tag, fields } as unknown as P9Message;
}

/**
 * Encodes a message. Throws `OUT_OF_RANGE` for a value that its field can't hold and `BAD_ARGUMENT` for a text that is no
 * name ({@link decodeName}).
 */
export function encodeMessage<Name extends P9MessageName>(name: Name, tag: number, fields: P9Fields<Name>): Uint8Array {
  const row = BY_NAME.get(name)!;
  const values = fields as Readonly<Record<string, unknown>>;
  const parts: (Uint8Array | undefined)[] = [];
  let size = HEADER_SIZE;
  for (const [field, form] of row.fields) {
    const part = bytesOf(form, values[field]);
    parts.push(part);
    size += part === undefined ? sizeOf(form, values[field]) : (form === "data" ? 4 : 2) + part.length;
  }
  const writer = new Writer(size);
  writer.number(size, 4);
  writer.number(row.type, 1);
  writer.number(tag, 2);
  for (const [index, [field, form]] of row.fields.entries()) writer.field(form, values[field], parts[index]);
  return writer.bytes;
}

const NUMBER_BYTES: Readonly<Record<string, number>> = { u8: 1, u16: 2, u32: 4 };

function bytesOf(form: FieldForm, value: unknown): Uint8Array | undefined {
  if (form === "text") return encodeName(value as string);
  return form === "data" ? (value as Uint8Array) : undefined;
}

function sizeOf(form: FieldForm, value: unknown): number {
  if (form === "u64") return 8;
  if (form === "qid") return 13;
  if (form === "qids") return 2 + 13 * (value as readonly Qid[]).length;
  if (form === "texts") return (value as readonly string[]).reduce((sum, text) => sum + 2 + encodeName(text).length, 2);
  return NUMBER_BYTES[form]!;
}

/** Reads fields; past the end everything is 0 and empty, and the position says so. */
class Reader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  at = HEADER_SIZE;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Goes on by `count` bytes and answers where they began; -1 when they aren't all there. */
  #skip(count: number): number {
    const at = this.at;
    this.at += count;
    return this.at > this.bytes.length ? -1 : at;
  }

  number(size: number): number {
    const at = this.#skip(size);
    if (at < 0) return 0;
    if (size === 1) return this.bytes[at]!;
    return size === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true);
  }

  quad(): bigint {
    const at = this.#skip(8);
    return at < 0 ? 0n : this.#view.getBigUint64(at, true);
  }

  data(length: number): Uint8Array {
    const at = this.#skip(length);
    return at < 0 ? new Uint8Array(0) : this.bytes.subarray(at, at + length);
  }

  qid(): Qid {
    return { type: this.number(1), version: this.number(4), path: this.quad() };
  }

  list<T>(least: number, one: () => T): T[] {
    const count = this.number(2);
    // A count that can't be true isn't worth a loop.
    if (this.at + count * least > this.bytes.length) {
      this.at = Number.POSITIVE_INFINITY;
      return [];
    }
    return Array.from({ length: count }, one);
  }

  field(form: FieldForm): unknown {
    switch (form) {
      case "u64":
        return this.quad();
      case "text":
        return decodeName(this.data(this.number(2)));
      case "data":
        return this.data(this.number(4));
      case "qid":
        return this.qid();
      case "texts":
        return this.list(2, () => decodeName(this.data(this.number(2))));
      case "qids":
        return this.list(13, () => this.qid());
      default:
        return this.number(NUMBER_BYTES[form]!);
    }
  }
}

class Writer {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  number(value: number, size: number): void {
    const limit = 2 ** (8 * size);
    if (!Number.isInteger(value) || value < 0 || value >= limit)
      throw new ParavirtError("OUT_OF_RANGE", `${value} doesn't fit a field below ${limit}`);
    if (size === 1) this.#view.setUint8(this.#at, value);
    else if (size === 2) this.#view.setUint16(this.#at, value, true);
    else this.#view.setUint32(this.#at, value, true);
    this.#at += size;
  }

  quad(value: bigint): void {
    if (BigInt.asUintN(64, value) !== value)
      throw new ParavirtError("OUT_OF_RANGE", `${value} doesn't fit a field of 64 bits`);
    this.#view.setBigUint64(this.#at, value, true);
    this.#at += 8;
  }

  counted(bytes: Uint8Array, countSize: number): void {
    this.number(bytes.length, countSize);
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  qid({ type, version, path }: Qid): void {
    this.number(type, 1);
    this.number(version, 4);
    this.quad(path);
  }

  field(form: FieldForm, value: unknown, encoded: Uint8Array | undefined): void {
    if (form === "u64") this.quad(value as bigint);
    else if (encoded !== undefined) this.counted(encoded, form === "data" ? 4 : 2);
    else if (form === "qid") this.qid(value as Qid);
    else if (form === "qids") {
      const qids = value as readonly Qid[];
      this.number(qids.length, 2);
      for (const qid of qids) this.qid(qid);
    } else if (form === "texts") {
      const texts = value as readonly string[];
      this.number(texts.length, 2);
      for (const text of texts) this.counted(encodeName(text), 2);
    } else this.number(value as number, NUMBER_BYTES[form]!);
  }
}
