import { PAGE_SIZE } from "@paravirt/core";

const STUB_SIZE = 32;
/** `iret` never returns, so its stub keeps RAX on the stack for the hypervisor instead (arch/x86/pv/hypercall.c). */
const IRET = 23;

/**
 * The 4 KiB page of hypercall stubs that a kernel with a HYPERCALL_PAGE note calls into, 32 bytes each, as Xen 4.17
 * fills it for a 64-bit PV guest.
 */
export function hypercallPage(): Uint8Array {
  const page = new Uint8Array(PAGE_SIZE).fill(0xcc);
  for (let number = 0; number < PAGE_SIZE / STUB_SIZE; number++) {
    const stub =
      number === IRET
        ? // push rcx; push r11; push rax; mov eax, 23; syscall
          [0x51, 0x41, 0x53, 0x50, 0xb8, number, 0, 0, 0, 0x0f, 0x05]
        : // push rcx; push r11; mov eax, number; syscall; pop r11; pop rcx; ret
          [0x51, 0x41, 0x53, 0xb8, number, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3];
    page.set(stub, number * STUB_SIZE);
  }
  return page;
}
