import { ParavirtError } from "@paravirt/core";
import type { Permission, Permissions } from "./permissions.ts";
import { isQuotaName, type XenstoreQuotas } from "./quota.ts";
import { type SpecialName, specialName } from "./special.ts";
import { latin1Decode, latin1Encode } from "./text.ts";
import type { Change } from "./view.ts";

/** Everything that a store keeps: changes of nodes, of who may hear of domains, and of limits. */
export type StoreChange =
  | Change
  | { readonly kind: "special"; readonly name: SpecialName; readonly permissions: Permissions }
  | { readonly kind: "quota"; readonly quota: keyof XenstoreQuotas; readonly limit: number };

/** First byte of every entry. */
const VERSION = 1;
const KINDS = ["create", "value", "permissions", "remove", "special", "quota"] as const;

/** Makes the bytes of a journal's entry: the changes of one operation. */
export function encodeChanges(changes: readonly StoreChange[]): Uint8Array {
  const out = new Writer();
  out.byte(VERSION);
  for (const change of changes) {
    out.byte(KINDS.indexOf(change.kind));
    switch (change.kind) {
      case "create":
        out.text(change.path);
        out.bytes(change.value);
        out.permissions(change.permissions);
        break;
      case "value":
        out.text(change.path);
        out.bytes(change.value);
        break;
      case "permissions":
        out.text(change.path);
        out.permissions(change.permissions);
        break;
      case "remove":
        out.text(change.path);
        break;
      case "special":
        out.text(change.name);
        out.permissions(change.permissions);
        break;
      case "quota":
        out.text(change.quota);
        out.number(change.limit);
        break;
    }
  }
  return out.finish();
}

/** Takes a journal's entry apart. Throws `BAD_IMAGE` for what {@link encodeChanges} never makes. */
export function decodeChanges(entry: Uint8Array): StoreChange[] {
  const from = new Reader(entry);
  const version = from.byte();
  if (version !== VERSION) throw bad(`version ${version}; this program reads version ${VERSION}`);
  const changes: StoreChange[] = [];
  while (!from.atEnd) changes.push(decodeChange(from));
  return changes;
}

function decodeChange(from: Reader): StoreChange {
  const code = from.byte();
  const kind = KINDS[code];
  switch (kind) {
    case "create":
      return { kind, path: from.path(), value: from.bytes(), permissions: from.permissions(), implied: false };
    case "value":
      return { kind, path: from.path(), value: from.bytes() };
    case "permissions":
      return { kind, path: from.path(), permissions: from.permissions() };
    case "remove":
      return { kind, path: from.path() };
    case "special": {
      const name = specialName(from.text());
      if (name === undefined) throw bad("an unknown special name");
      return { kind, name, permissions: from.permissions() };
    }
    case "quota": {
      const quota = from.text();
      if (!isQuotaName(quota)) throw bad(`an unknown quota, ${quota}`);
      return { kind, quota, limit: from.number() };
    }
    default:
      throw bad(`an unknown change, ${code}`);
  }
}

function bad(what: string): ParavirtError {
  return new ParavirtError("BAD_IMAGE", `a xenstore journal's entry has ${what}`);
}

class Writer {
  #bytes = new Uint8Array(256);
  #length = 0;

  byte(value: number): void {
    this.#room(1)[this.#length++] = value;
  }

  /** Seven bits a byte, lowest first (LEB128). */
  number(value: number): void {
    let rest = value;
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) this.byte((rest & 0x7f) | 0x80);
    this.byte(rest);
  }

  bytes(bytes: Uint8Array): void {
    this.number(bytes.length);
    this.#room(bytes.length).set(bytes, this.#length);
    this.#length += bytes.length;
  }

  text(text: string): void {
    this.bytes(latin1Encode(text));
  }

  permissions(list: Permissions): void {
    this.number(list.length);
    for (const { domid, read, write } of list) {
      this.number(domid);
      this.byte((read ? 1 : 0) | (write ? 2 : 0));
    }
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #room(count: number): Uint8Array {
    if (this.#length + count > this.#bytes.length) {
      const larger = new Uint8Array((this.#length + count) * 2);
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    return this.#bytes;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw bad("no end: it was cut off");
    return byte;
  }

  number(): number {
    let value = 0;
    for (let factor = 1; factor <= 128 ** 6; factor *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw bad("a number that is too long");
  }

  bytes(): Uint8Array {
    const length = this.number();
    if (length > this.#bytes.length - this.#at) throw bad("no end: it was cut off");
    const start = this.#at;
    this.#at += length;
    return this.#bytes.slice(start, this.#at);
  }

  text(): string {
    return latin1Decode(this.bytes());
  }

  path(): string {
    const path = this.text();
    if (!path.startsWith("/")) throw bad(`a path that isn't absolute, ${path}`);
    return path;
  }

  permissions(): Permissions {
    const count = this.number();
    if (count < 1 || count > this.#bytes.length) throw bad(`a permission list of ${count} entries`);
    const list: Permission[] = [];
    for (let at = 0; at < count; at++) {
      const domid = this.number();
      const rights = this.byte();
      list.push({ domid, read: (rights & 1) !== 0, write: (rights & 2) !== 0 });
    }
    return list;
  }
}
