import { HYPERVISOR } from "./hypercall-numbers.ts";

/** Bytes of each stub: hypercall N is called at offset N * 32 (public/arch-x86/xen.h). */
const STUB_BYTES = 32;
const PUSH_RCX = 0x51;
const PUSH_RAX = 0x50;
const POP_RCX = 0x59;
const RET = 0xc3;
const INT3 = 0xcc;

/**
 * Fills the 4096 bytes at `at` with the stubs through which a PV kernel with a HYPERCALL_PAGE note calls Xen. The
 * domain builder calls it for the page that the note names.
 */
export function writeHypercallPage(bytes: Uint8Array, at: number): void {
  bytes.fill(INT3, at, at + 4096);
  for (let number = 0; number < 4096 / STUB_BYTES; number++) {
    const stub = at + number * STUB_BYTES;
    const moveNumber = [0xb8, number, 0, 0, 0];
    const pushR11 = [0x41, 0x53];
    const popR11 = [0x41, 0x5b];
    const syscall = [0x0f, 0x05];
    // HYPERVISOR_iret finds RAX, R11 and RCX on the stack, and never returns.
    const code =
      number === HYPERVISOR.iret
        ? [PUSH_RCX, ...pushR11, PUSH_RAX, ...moveNumber, ...syscall]
        : [PUSH_RCX, ...pushR11, ...moveNumber, ...syscall, ...popR11, POP_RCX, RET];
    bytes.set(code, stub);
  }
}
