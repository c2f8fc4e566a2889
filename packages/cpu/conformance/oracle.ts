import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Case, type CasePage, type Outcome, type ProcessorState, UPPER_BYTES } from "./processor-state.ts";

/** Sizes of oracle.c's packed structures. */
const UPPER_AT = 8 * 20 + 2 * 6 + 512;
const STATE_BYTES = UPPER_AT + UPPER_BYTES;
const REQUEST_BYTES = 4 + STATE_BYTES;
const PATCH_BYTES = 6;
const REPLY_HEAD = 16;
const REPLY_BYTES = REPLY_HEAD + STATE_BYTES + 4;
const CHANGE_BYTES = 5;

function writeState(bytes: Uint8Array, view: DataView, start: number, state: ProcessorState): void {
  let at = start;
  for (const quad of [state.rip, ...state.general, state.flags, state.fsBase, state.gsBase]) {
    view.setBigUint64(at, quad, true);
    at += 8;
  }
  for (const selector of state.selectors) {
    view.setUint16(at, selector, true);
    at += 2;
  }
  bytes.set(state.fx, at);
  bytes.set(state.upper, start + UPPER_AT);
}

function readState(bytes: Uint8Array, view: DataView, start: number): ProcessorState {
  const quad = (index: number) => view.getBigUint64(start + index * 8, true);
  return {
    rip: quad(0),
    general: BigUint64Array.from({ length: 16 }, (_, i) => quad(1 + i)),
    flags: quad(17),
    fsBase: quad(18),
    gsBase: quad(19),
    selectors: Uint16Array.from({ length: 6 }, (_, i) => view.getUint16(start + 160 + i * 2, true)),
    fx: bytes.slice(start + 172, start + 172 + 416),
    upper: bytes.slice(start + UPPER_AT, start + UPPER_AT + UPPER_BYTES),
  };
}

/** The processor that this program runs on, one instruction at a time. Linux on x86-64, with gcc and its static libc. */
export class NativeProcessor {
  private readonly directory: string;
  private readonly program: string;
  private readonly layout: Uint8Array;

  /** Compiles the oracle; throws with the compiler's output when that fails. */
  constructor(source: string, pages: readonly CasePage[]) {
    this.directory = mkdtempSync(join(tmpdir(), "conformance-"));
    this.program = join(this.directory, "oracle");
    const options = [
      "-O2",
      "-Wall",
      "-Wextra",
      "-static-pie",
      "-mfsgsbase",
      "-fno-stack-protector",
      "-fcf-protection=none",
    ];
    const compiled = spawnSync("gcc", [...options, "-o", this.program, source], { encoding: "utf8" });
    if (compiled.status !== 0)
      throw new Error(`gcc can't build ${source}: ${compiled.error?.message ?? compiled.stderr}`);
    this.layout = new Uint8Array(4 + pages.length * (12 + 4096));
    const view = new DataView(this.layout.buffer);
    view.setUint32(0, pages.length, true);
    pages.forEach((page, index) => {
      const at = 4 + index * (12 + 4096);
      view.setBigUint64(at, BigInt(page.address), true);
      view.setUint32(at + 8, page.access, true);
      this.layout.set(page.image, at + 12);
    });
  }

  /** Executes the cases, each from the same pages. Throws when the oracle fails as a whole. */
  run(cases: readonly Case[]): Outcome[] {
    let length = this.layout.length;
    for (const { patches } of cases) {
      length += REQUEST_BYTES;
      for (const patch of patches) length += PATCH_BYTES + patch.bytes.length;
    }
    const input = new Uint8Array(length);
    const view = new DataView(input.buffer);
    input.set(this.layout);
    let at = this.layout.length;
    for (const { method, state, patches } of cases) {
      input[at + 1] = method;
      view.setUint16(at + 2, patches.length, true);
      writeState(input, view, at + 4, state);
      at += REQUEST_BYTES;
      for (const { page, offset, bytes } of patches) {
        view.setUint16(at, page, true);
        view.setUint16(at + 2, offset, true);
        view.setUint16(at + 4, bytes.length, true);
        input.set(bytes, at + PATCH_BYTES);
        at += PATCH_BYTES + bytes.length;
      }
    }
    const { stdout, stderr, status, signal, error } = spawnSync(this.program, { input, maxBuffer: 2 ** 31 });
    const outcomes = error === undefined ? this.outcomes(stdout) : [];
    if (status !== 0 || outcomes.length !== cases.length)
      throw new Error(
        `the oracle ended with ${signal ?? status} after ${outcomes.length} of ${cases.length} cases: ${error?.message ?? stderr}`,
      );
    return outcomes;
  }

  private outcomes(bytes: Uint8Array): Outcome[] {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const outcomes: Outcome[] = [];
    for (let at = 0; at + REPLY_BYTES <= bytes.length; ) {
      const count = view.getUint32(at + REPLY_BYTES - 4, true);
      const changes: number[] = [];
      for (let i = 0, change = at + REPLY_BYTES; i < count; i++, change += CHANGE_BYTES)
        changes.push(
          view.getUint16(change, true) * 2 ** 20 + view.getUint16(change + 2, true) * 256 + bytes[change + 4]!,
        );
      outcomes.push({
        vector: view.getUint32(at, true),
        error: view.getUint32(at + 4, true),
        cr2: view.getBigUint64(at + 8, true),
        state: readState(bytes, view, at + REPLY_HEAD),
        changes,
      });
      at += REPLY_BYTES + count * CHANGE_BYTES;
    }
    return outcomes;
  }

  /** Removes the compiled program. */
  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The features that Linux names for this processor. */
export function hostFeatures(): ReadonlySet<string> {
  const line = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "";
  return new Set(line.trim().split(/\s+/));
}

/** Maker and model, for reports. */
export function hostName(): string {
  const text = readFileSync("/proc/cpuinfo", "utf8");
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, "m").exec(text)?.[1] ?? "?";
  return `${field("model name")}, family ${field("cpu family")}, model ${field("model")}, stepping ${field("stepping")}`;
}
