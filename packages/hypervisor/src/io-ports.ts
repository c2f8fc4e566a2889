import type { VirtualCpu } from "./virtual-cpu.ts";

/** PIT channel 2's data port. */
const PIT_CHANNEL_2 = 0x42;
const PCI_ADDRESS = 0xcf8;

/** All ones of `bytes` bytes. */
function ones(bytes: number): number {
  return bytes === 4 ? 0xffffffff : (1 << (bytes * 8)) - 1;
}

/**
 * What IN reads from `port`. A domU has no devices behind ports: all ones, except for the PCI address latch, which Xen
 * keeps per domain, and channel 2 of the PIT, which differs from Xen on purpose: 0 ends Linux's calibration at once,
 * where all ones cost 50,000 reads before it gives up all the same.
 */
export function readPort(vcpu: VirtualCpu, port: number, bytes: number): number {
  if (port === PIT_CHANNEL_2) return 0;
  if (port === PCI_ADDRESS && bytes === 4) return vcpu.domain.pciAddress;
  return ones(bytes);
}

/** What OUT does: only the PCI address latch keeps anything. */
export function writePort(vcpu: VirtualCpu, port: number, bytes: number, value: number): void {
  if (port === PCI_ADDRESS && bytes === 4) vcpu.domain.pciAddress = value >>> 0;
}

/** Whether the guest may use `port` now: its virtual IOPL, or its I/O bitmap (Xen's guest_io_okay). */
export function mayUsePort(vcpu: VirtualCpu, port: number, bytes: number): boolean {
  if (mayDisableInterrupts(vcpu)) return true;
  if (port + bytes > vcpu.ioBitmapPorts) return false;
  bitmap.fill(0xff);
  // A bit that is clear allows; Xen reads 16 bits from the byte of the first port.
  if (!vcpu.cpu.read(vcpu.ioBitmap + BigInt(port >> 3), bitmap)) return false;
  const bits = (bitmap[0] as number) | ((bitmap[1] as number) << 8);
  return (bits & (((1 << bytes) - 1) << (port & 7))) === 0;
}

const bitmap = new Uint8Array(2);

/** Xen's iopl_ok: the guest's kernel counts as privilege level 1, its user space as 3. */
export function mayDisableInterrupts(vcpu: VirtualCpu): boolean {
  return vcpu.iopl >= (vcpu.kernelMode ? 1 : 3);
}
