import { differences, digest, isTranscendental } from "./compare.ts";
import type { CaseMachine } from "./engine-machine.ts";
import type { GroupedCase } from "./generate.ts";
import { type MadeCase, makeCase } from "./make-case.ts";
import { type CasePage, COMPLETED, FX, type Outcome } from "./processor-state.ts";

/** The length's bit for a case in compatibility mode. */
const COMPATIBILITY = 0x80;
const SEED_AT = 16;
const DIGEST_AT = 20;
/** Bytes of a recorded case: length, fifteen code bytes, seed, digest of what the processor did. */
export const RECORDED_BYTES = 24;
/** The same for a transcendental function: no digest, but status word, ST(0) and ST(1) as the processor left them. */
export const TRANSCENDENTAL_BYTES: number = DIGEST_AT + 22;

/** A case out of a recorded set. */
export interface RecordedCase {
  readonly test: MadeCase;
  readonly digest: number;
}

function head(test: MadeCase, length: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes[0] = test.original.length | (test.bits === 32 ? COMPATIBILITY : 0);
  bytes.set(test.original, 1);
  view.setUint32(SEED_AT, test.seed, true);
  return { bytes, view };
}

function caseAt(bytes: Uint8Array, view: DataView, at: number, pages: readonly CasePage[]): MadeCase {
  const length = bytes[at]! & ~COMPATIBILITY;
  const bits = bytes[at]! & COMPATIBILITY ? 32 : 64;
  return makeCase(bytes.slice(at + 1, at + 1 + length), view.getUint32(at + SEED_AT, true), bits, pages);
}

/** Encodes one case with its outcome on a processor; transcendental functions are another file's. */
export function encodeRecorded({ test }: GroupedCase, outcome: Outcome): Uint8Array {
  const { bytes, view } = head(test, RECORDED_BYTES);
  view.setUint32(DIGEST_AT, digest(test, outcome), true);
  return bytes;
}

/** Encodes a transcendental function's case, all exceptions masked or not. */
export function encodeTranscendental({ test }: GroupedCase, outcome: Outcome): Uint8Array {
  const { bytes, view } = head(test, TRANSCENDENTAL_BYTES);
  const { fx } = outcome.state;
  view.setUint16(DIGEST_AT, fx[FX.statusWord]! | (fx[FX.statusWord + 1]! << 8), true);
  bytes.set(fx.subarray(FX.st, FX.st + 10), DIGEST_AT + 2);
  bytes.set(fx.subarray(FX.st + 16, FX.st + 26), DIGEST_AT + 12);
  return bytes;
}

/** Reads a recorded set, every `stride`th case of it. */
export function* decodeRecorded(
  bytes: Uint8Array,
  pages: readonly CasePage[],
  stride: number = 1,
): Generator<RecordedCase> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += RECORDED_BYTES * stride)
    yield { test: caseAt(bytes, view, at, pages), digest: view.getUint32(at + DIGEST_AT, true) };
}

/** A transcendental function's case, with the status word and registers that the processor left. */
export interface RecordedTranscendental {
  readonly test: MadeCase;
  readonly statusWord: number;
  /** ST(0) and ST(1). */
  readonly registers: readonly Uint8Array[];
}

/** Reads the recorded transcendental functions. */
export function* decodeTranscendental(
  bytes: Uint8Array,
  pages: readonly CasePage[],
): Generator<RecordedTranscendental> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += TRANSCENDENTAL_BYTES)
    yield {
      test: caseAt(bytes, view, at, pages),
      statusWord: view.getUint16(at + DIGEST_AT, true),
      registers: [2, 12].map((from) => bytes.slice(at + DIGEST_AT + from, at + DIGEST_AT + from + 10)),
    };
}

/** A recorded set in the making. */
export class Recording {
  readonly cases: Uint8Array[] = [];
  readonly transcendental: Uint8Array[] = [];
  /** Cases that the engine gets wrong: left out, and listed. */
  readonly different: string[] = [];

  /** Adds a case unless `machine` disagrees with the processor. */
  add(item: GroupedCase, native: Outcome, machine: CaseMachine): void {
    const { test } = item;
    if (isTranscendental(test)) {
      if (native.vector === COMPLETED) this.transcendental.push(encodeTranscendental(item, native));
      return;
    }
    const what = differences(test, native, machine.run(test)!);
    if (what.length === 0) this.cases.push(encodeRecorded(item, native));
    else this.different.push(`${Buffer.from(test.code).toString("hex")} seed ${test.seed}: ${what.join("; ")}`);
  }
}

/** One array of many. */
export function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
