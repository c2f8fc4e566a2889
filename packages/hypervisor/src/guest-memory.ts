import { VIRT_X86_64 } from "@paravirt/xen-abi";
import type { VirtualCpu } from "./virtual-cpu.ts";

/** The hole of non-canonical addresses and Xen's own part of the address space: no hypercall argument may point there. */
const HOLE_START = 0x0000_8000_0000_0000n;
const HOLE_END = VIRT_X86_64.HYPERVISOR_VIRT_END;

/** Xen's access_ok for one range of a 64-bit PV guest. */
export function isGuestRange(address: bigint, length: number): boolean {
  const end = address + BigInt(length);
  return end <= HOLE_START || (address >= HOLE_END && end <= 1n << 64n);
}

/** Machine address of guest-kernel `address`, 0 when the access would fault. */
export function guestTranslate(vcpu: VirtualCpu, address: bigint, write: boolean): number {
  return vcpu.kernelMode ? vcpu.cpu.translate(address, write) : vcpu.cpu.translateIn(vcpu.kernelRoot, address, write);
}

/** Halves of the hole's start and end: see {@link isGuestRange}. */
const HOLE_START_HIGH = 0x8000;
const HOLE_END_HIGH = Number(HOLE_END >> 32n);

/**
 * Machine address of `length` bytes at a guest-kernel address in two halves, if they lie in one page, are aligned to
 * four bytes and may be accessed so; else 0, and the caller takes the general way, which also says what is wrong.
 * Whoever writes there must have asked with `write`.
 */
export function guestSpan(vcpu: VirtualCpu, low: number, high: number, length: number, write: boolean): number {
  if ((low & 4095) + length > 4096 || (low & 3) !== 0 || !vcpu.kernelMode) return 0;
  if (high >= HOLE_START_HIGH && high < HOLE_END_HIGH) return 0;
  return vcpu.cpu.translateWords(low, high, write);
}

/** Copies `length` bytes at guest-kernel `address` to the start of `into`; `false` when any of them would fault. */
export function guestLoad(vcpu: VirtualCpu, address: bigint, into: Uint8Array, length: number): boolean {
  if (!isGuestRange(address, length)) return false;
  const { bytes } = vcpu.domain.machine.memory;
  let done = 0;
  while (done < length) {
    const here = address + BigInt(done);
    const machine = guestTranslate(vcpu, here, false);
    if (machine === 0) return false;
    const chunk = Math.min(length - done, 4096 - (machine & 4095));
    if (chunk <= 64) for (let i = 0; i < chunk; i++) into[done + i] = bytes[machine + i] as number;
    else into.set(bytes.subarray(machine, machine + chunk), done);
    done += chunk;
  }
  return true;
}

/** Copies the first `length` bytes of `from` to guest-kernel `address`; writes nothing and is `false` if any would fault. */
export function guestStore(vcpu: VirtualCpu, address: bigint, from: Uint8Array, length: number): boolean {
  if (!isGuestRange(address, length)) return false;
  const { machine } = vcpu.domain;
  const { bytes } = machine.memory;
  const first = guestTranslate(vcpu, address, true);
  if (first === 0) return false;
  const room = 4096 - (first & 4095);
  if (length > room) {
    for (let at = room; at < length; at += 4096) {
      if (guestTranslate(vcpu, address + BigInt(at), true) === 0) return false;
    }
  }
  let done = 0;
  let here = first;
  while (done < length) {
    if (done > 0) here = guestTranslate(vcpu, address + BigInt(done), true);
    const chunk = Math.min(length - done, 4096 - (here & 4095));
    if (chunk <= 64) for (let i = 0; i < chunk; i++) bytes[here + i] = from[done + i] as number;
    else bytes.set(from.subarray(done, done + chunk), here);
    machine.engine.frames.written(here >>> 12);
    done += chunk;
  }
  return true;
}
