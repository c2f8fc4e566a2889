import { hypercallName } from "@paravirt/xen-abi";
import { guestLoad } from "./guest-memory.ts";
import type { RememberedHypercall } from "./history.ts";
import { hex, REGISTER_NAMES } from "./traps.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

/** Bytes of the stack that a report shows. */
const STACK_BYTES = 128;

/** What is known about a domain that crashed. */
export interface CrashReport {
  /** Id of the domain. */
  readonly domain: number;
  /** The VCPU that ran. */
  readonly vcpu: number;
  /** Why Xen would have crashed it, or that the guest itself said so. */
  readonly reason: string;
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8 to R15. */
  readonly registers: readonly bigint[];
  /** Where it was. */
  readonly rip: bigint;
  /** RFLAGS; IF is always set, the guest's own is its event mask. */
  readonly rflags: bigint;
  /** ES CS SS DS FS GS. */
  readonly selectors: readonly number[];
  /** FS base. */
  readonly fsBase: bigint;
  /** GS base of the half that ran. */
  readonly gsBase: bigint;
  /** MFN of the top-level page table in use. */
  readonly root: number;
  /** Whether the guest's kernel ran, or its user space. */
  readonly kernelMode: boolean;
  /** Words from RSP up, as far as they are mapped. */
  readonly stack: readonly bigint[];
  /** Up to sixteen, oldest first. */
  readonly hypercalls: readonly RememberedHypercall[];
}

/** Takes down a VCPU's state as it is now. */
export function captureCrash(vcpu: VirtualCpu, reason: string): CrashReport {
  const { cpu } = vcpu;
  const registers = Array.from(cpu.regs.subarray(0, 16));
  const stack: bigint[] = [];
  const word = new Uint8Array(8);
  const view = new DataView(word.buffer);
  const rsp = registers[4] as bigint;
  for (let at = 0; at < STACK_BYTES; at += 8) {
    if (!guestLoad(vcpu, rsp + BigInt(at), word, 8)) break;
    stack.push(view.getBigUint64(0, true));
  }
  return {
    domain: vcpu.domain.id,
    vcpu: vcpu.id,
    reason,
    registers,
    rip: cpu.rip,
    rflags: cpu.rflags,
    selectors: Array.from(cpu.selectors.subarray(0, 6)),
    fsBase: cpu.fsBase,
    gsBase: cpu.gsBase,
    root: cpu.root,
    kernelMode: vcpu.kernelMode,
    stack,
    hypercalls: vcpu.history.list(),
  };
}

/** Writes a crash report as text, some forty lines. */
export function formatCrash(report: CrashReport): string {
  const lines: string[] = [];
  lines.push(`domain ${report.domain} vcpu ${report.vcpu} crashed: ${report.reason}`);
  lines.push(
    `rip ${long(report.rip)} rflags ${hex(report.rflags)} ${report.kernelMode ? "guest kernel" : "guest user"} mode`,
  );
  for (let at = 0; at < 16; at += 4) {
    lines.push(
      [0, 1, 2, 3]
        .map((n) => `${(REGISTER_NAMES[at + n] as string).padStart(3)} ${long(report.registers[at + n] as bigint)}`)
        .join("  "),
    );
  }
  const [es, cs, ss, ds, fs, gs] = report.selectors.map((selector) => hex(selector));
  lines.push(`cs ${cs} ss ${ss} ds ${ds} es ${es} fs ${fs} gs ${gs}`);
  lines.push(`fs base ${long(report.fsBase)} gs base ${long(report.gsBase)} root mfn ${hex(report.root)}`);
  lines.push(report.stack.length === 0 ? "stack: not mapped" : "stack:");
  for (let at = 0; at < report.stack.length; at += 4)
    lines.push(
      `  ${report.stack
        .slice(at, at + 4)
        .map(long)
        .join(" ")}`,
    );
  lines.push(`last ${report.hypercalls.length} hypercalls:`);
  for (const call of report.hypercalls) {
    const result = call.result === undefined ? "did not return" : `= ${call.result}`;
    lines.push(
      `  ${hypercallName(call.number) ?? `hypercall ${call.number}`}(${call.args.map(hex).join(", ")}) ${result}`,
    );
  }
  return `${lines.join("\n")}\n`;
}

function long(value: bigint): string {
  return value.toString(16).padStart(16, "0");
}
