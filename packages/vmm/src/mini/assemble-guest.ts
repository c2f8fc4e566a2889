import { assemble } from "@paravirt/x86";
import { ELFNOTE, HYPERVISOR } from "@paravirt/xen-abi";
import { COMMON_NOTES, writeElf, type XenNote } from "./elf-writer.ts";

/** How an assembled kernel is laid out and makes its hypercalls. */
export interface GuestLayout {
  /** Calls into a page of stubs that the domain builder fills (HYPERCALL_PAGE note); else `syscall` directly. True unless told. */
  readonly hypercallPage?: boolean;
  /** Lives in the upper half, with VIRT_BASE and PADDR_OFFSET notes; else at its physical address. True unless told. */
  readonly virtBase?: boolean;
  /** Asks for the list of machine frames at an address of its own (INIT_P2M note). False unless told. */
  readonly initP2m?: boolean;
}

/** Linear address of pfn 0 with a VIRT_BASE note: where Linux has it. */
const VIRT_BASE = 0xffffffff80000000n;
/** Where Linux asks for its INIT_P2M. */
const P2M_BASE = 0x8000000000n;
const PHYSICAL = 0x100000n;
const PAGE = 4096n;
const STUB_SIZE = 32;

/** What the source of a guest is written with. */
export interface GuestMacros {
  /** Text of a hypercall: the number goes to rax, the answer comes in rax; rcx and r11 are lost. */
  readonly hypercall: (name: keyof typeof HYPERVISOR) => string;
  /** Text that jumps to the `iret` hypercall, with flags, rip, cs, rflags, rsp and ss on the stack. */
  readonly iret: string;
  /** Linear address of pfn 0. */
  readonly virtBase: bigint;
}

/**
 * Assembles a PV kernel from source and wraps it into an ELF file with Xen notes. The source begins with the first
 * instruction, and may use the label `page_shared_info`: a page of its own to map shared_info over.
 */
export function assembleGuest(source: (macros: GuestMacros) => string, layout: GuestLayout = {}): Uint8Array {
  const { hypercallPage = true, virtBase = true, initP2m = false } = layout;
  const base = virtBase ? VIRT_BASE : 0n;
  const address = base + PHYSICAL;
  const hypercall = (name: keyof typeof HYPERVISOR): string =>
    hypercallPage
      ? `call page_hypercall + ${HYPERVISOR[name] * STUB_SIZE}`
      : `mov eax, ${HYPERVISOR[name]}\n    syscall`;
  const iret = hypercallPage
    ? `jmp page_hypercall + ${HYPERVISOR.iret * STUB_SIZE}`
    : `push rcx\n    push r11\n    push rax\n    mov eax, ${HYPERVISOR.iret}\n    syscall`;
  const { bytes, symbols } = assemble(
    `
    ${source({ hypercall, iret, virtBase: base })}
    .align 4096
  page_hypercall:
    .zero 4096
  page_shared_info:
    .zero 4096
  `,
    { address },
  );
  const notes: XenNote[] = [...COMMON_NOTES, [ELFNOTE.ENTRY, address]];
  if (hypercallPage) notes.push([ELFNOTE.HYPERCALL_PAGE, symbols.get("page_hypercall")!]);
  if (virtBase) notes.push([ELFNOTE.VIRT_BASE, base], [ELFNOTE.PADDR_OFFSET, 0n]);
  if (initP2m) notes.push([ELFNOTE.INIT_P2M, P2M_BASE]);
  const memorySize = Number((BigInt(bytes.length) + PAGE - 1n) / PAGE) * Number(PAGE);
  return writeElf({ bytes, address, physical: PHYSICAL, memorySize, entry: address, notes });
}
