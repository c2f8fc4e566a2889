import { ParavirtError } from "@paravirt/core";
import { XENPVCLOCK } from "@paravirt/xen-abi";
import { SHARED_INFO, VCPU_INFO, VCPU_TIME } from "./abi.ts";
import type { Domain } from "./domain.ts";
import { guestLoad, guestStore } from "./guest-memory.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

/** The guest's time-stamp counter: a fixed frequency, counted from the machine's clock. */
export interface TscScale {
  /** Thousands of ticks a second. */
  readonly khz: number;
  /** `vcpu_time_info.tsc_to_system_mul` and `tsc_shift`: ns = ((ticks << shift) * mul) >> 32. */
  readonly multiplier: number;
  /** See {@link TscScale.multiplier}; below 0 it shifts right. */
  readonly shift: number;
}

/** Finds multiplier and shift for a frequency as Xen's set_time_scale does: the multiplier has its top bit set. */
export function tscScale(khz: number): TscScale {
  if (!Number.isInteger(khz) || khz < 1 || khz > 10_000_000) {
    throw new ParavirtError("OUT_OF_RANGE", `TSC frequency ${khz} kHz is not in 1 to 10000000`);
  }
  let ticks = BigInt(khz) * 1000n;
  let shift = 0;
  while (ticks > 2_000_000_000n) {
    ticks >>= 1n;
    shift--;
  }
  while (ticks <= 1_000_000_000n) {
    ticks <<= 1n;
    shift++;
  }
  return { khz, multiplier: Number((1_000_000_000n << 32n) / ticks), shift };
}

/** Ticks that the counter shows at clock time `now`. */
export function tscAt(scale: TscScale, now: bigint): bigint {
  return scale.khz === 1_000_000 ? now : (now * BigInt(scale.khz)) / 1_000_000n;
}

/** Writes the time part of a VCPU's vcpu_info by its version protocol (public/xen.h): odd while it changes. */
export function writeVcpuTime(vcpu: VirtualCpu): void {
  const { machine } = vcpu.domain;
  const now = machine.clock.now();
  vcpu.timeStamp = now;
  fillVcpuTime(vcpu, machine.memory.view, vcpu.infoAt + VCPU_INFO.time, now);
  if (vcpu.timeArea === 0n || !guestLoad(vcpu, vcpu.timeArea, copy, VCPU_TIME.size)) return;
  fillVcpuTime(vcpu, copyView, 0, now);
  guestStore(vcpu, vcpu.timeArea, copy, VCPU_TIME.size);
}

const copy = new Uint8Array(VCPU_TIME.size);
const copyView = new DataView(copy.buffer);

/** Writes one `struct vcpu_time_info` at byte `at` of `view`. */
export function fillVcpuTime(vcpu: VirtualCpu, view: DataView, at: number, now: bigint): void {
  const { tsc } = vcpu.domain.machine;
  const version = (view.getUint32(at + VCPU_TIME.version, true) | 1) >>> 0;
  view.setUint32(at + VCPU_TIME.version, version, true);
  view.setBigUint64(at + VCPU_TIME.tscTimestamp, tscAt(tsc, now), true);
  view.setBigUint64(at + VCPU_TIME.systemTime, now, true);
  view.setUint32(at + VCPU_TIME.multiplier, tsc.multiplier, true);
  view.setInt8(at + VCPU_TIME.shift, tsc.shift);
  // With a tick a nanosecond every stamp gives the same time on every VCPU, and Linux reads the clock without a system call;
  // other scales are rounded, and renewed.
  view.setUint8(at + VCPU_TIME.flags, tsc.khz === 1_000_000 ? XENPVCLOCK.TSC_STABLE_BIT : 0);
  view.setUint32(at + VCPU_TIME.version, (version + 1) >>> 0, true);
}

/** Writes shared_info's wall clock: the date at clock time 0, plus the domain's own offset. */
export function writeWallClock(domain: Domain): void {
  const { view } = domain.machine.memory;
  const at = domain.sharedInfoAt;
  const base = domain.machine.clock.wallClockBase + BigInt(domain.timeOffsetSeconds) * 1_000_000_000n;
  const seconds = base / 1_000_000_000n;
  const version = (view.getUint32(at + SHARED_INFO.wcVersion, true) | 1) >>> 0;
  view.setUint32(at + SHARED_INFO.wcVersion, version, true);
  view.setUint32(at + SHARED_INFO.wcSec, Number(seconds & 0xffffffffn), true);
  view.setUint32(at + SHARED_INFO.wcSecHigh, Number((seconds >> 32n) & 0xffffffffn), true);
  view.setUint32(at + SHARED_INFO.wcNsec, Number(base % 1_000_000_000n), true);
  view.setUint32(at + SHARED_INFO.wcVersion, (version + 1) >>> 0, true);
}
