// A table: Constants of elfnote.h, arch-x86/cpuid.h, hvm/start_info.h and hvm/params.h.

/** Types of ELF notes named "Xen": `XEN_ELFNOTE_*` of `elfnote.h`. */
export const ELFNOTE = {
  /** Free text. */
  INFO: 0,
  /** Virtual address of the first instruction. */
  ENTRY: 1,
  /** Virtual address of the page to fill with hypercall stubs. */
  HYPERCALL_PAGE: 2,
  /** Virtual address that pseudo-physical address 0 is mapped at. */
  VIRT_BASE: 3,
  /** What to subtract from the ELF's physical addresses. */
  PADDR_OFFSET: 4,
  /** The interface: "xen-3.0". */
  XEN_VERSION: 5,
  /** The system's name. */
  GUEST_OS: 6,
  /** The system's version. */
  GUEST_VERSION: 7,
  /** Which loader to use: "generic". */
  LOADER: 8,
  /** Whether a 32-bit kernel uses PAE. */
  PAE_MODE: 9,
  /** Features needed (`!`) and supported, by name. */
  FEATURES: 10,
  /** Whether to load the symbol table. */
  BSD_SYMTAB: 11,
  /** Lowest address that Xen may use. */
  HV_START_LOW: 12,
  /** Mask and value that mark a valid entry. */
  L1_MFN_VALID: 13,
  /** Whether suspending may be cancelled. */
  SUSPEND_CANCEL: 14,
  /** Virtual address that the P2M table shall be mapped at. */
  INIT_P2M: 15,
  /** The module need not be mapped; its frame number is given. */
  MOD_START_PFN: 16,
  /** Features supported, as bits. */
  SUPPORTED_FEATURES: 17,
  /** Physical address of the 32-bit entry of a PVH kernel. */
  PHYS32_ENTRY: 18,
  /** Of a crash dump: Xen's version and state. */
  CRASH_INFO: 0x1000001,
  /** Of a crash dump: a processor's registers. */
  CRASH_REGS: 0x1000002,
  /** Of a core dump: the dump's kind. */
  DUMPCORE_NONE: 0x2000000,
  /** Of a core dump: its header. */
  DUMPCORE_HEADER: 0x2000001,
  /** Of a core dump: Xen's version. */
  DUMPCORE_XEN_VERSION: 0x2000002,
  /** Of a core dump: the format's version. */
  DUMPCORE_FORMAT_VERSION: 0x2000003,
} as const;

/** CPUID leaves of Xen at their first base: `XEN_CPUID_LEAF(i)` of `arch-x86/cpuid.h`. */
export const XEN_CPUID_LEAVES = {
  /** eax: the last leaf; ebx, ecx, edx: the signature. */
  signature: 0x40000000,
  /** eax: major << 16 | minor. */
  version: 0x40000001,
  /** eax: hypercall pages; ebx: the MSR to set one up; ecx: features. */
  hypercall: 0x40000002,
  /** Subleaves 0 to 2: the TSC's mode, offset and scale. */
  time: 0x40000003,
  /** eax: features of HVM guests; ebx: VCPU id; ecx: domain id. */
  hvm: 0x40000004,
  /** ebx: width of machine addresses, in bits. */
  limits: 0x40000005,
} as const;

/** What leaf `signature` answers, "XenVMMXenVMM": `XEN_CPUID_SIGNATURE_*` of `arch-x86/cpuid.h`. */
export const XEN_CPUID_SIGNATURE = {
  /** "XenV". */
  EBX: 0x566e6558,
  /** "MMXe". */
  ECX: 0x65584d4d,
  /** "nVMM". */
  EDX: 0x4d4d566e,
} as const;

/** Bits of leaf `hvm`'s eax: `XEN_HVM_CPUID_*` of `arch-x86/cpuid.h`. */
export const XEN_HVM_CPUID = {
  /** APIC registers are virtualized. */
  APIC_ACCESS_VIRT: 0x1,
  /** x2APIC registers are virtualized. */
  X2APIC_VIRT: 0x2,
  /** Mapped pages are mapped for devices too. */
  IOMMU_MAPPINGS: 0x4,
  /** ebx holds the VCPU's id. */
  VCPU_ID_PRESENT: 0x8,
  /** ecx holds the domain's id. */
  DOMID_PRESENT: 0x10,
  /** Interrupt destinations have extended ids. */
  EXT_DEST_ID: 0x20,
  /** Each VCPU may choose its upcall vector. */
  UPCALL_VECTOR: 0x40,
} as const;

/** Values of `hvm_memmap_table_entry.type`: `XEN_HVM_MEMMAP_TYPE_*` of `hvm/start_info.h`. */
export const HVM_MEMMAP = {
  /** Usable. */
  RAM: 1,
  /** Not usable. */
  RESERVED: 2,
  /** ACPI tables; usable when read. */
  ACPI: 3,
  /** ACPI storage to keep. */
  NVS: 4,
  /** Broken. */
  UNUSABLE: 5,
  /** Switched off. */
  DISABLED: 6,
  /** Persistent. */
  PMEM: 7,
} as const;

/** Indices for `HVMOP.get_param` and `HVMOP.set_param`: `HVM_PARAM_*` of `hvm/params.h`. */
export const HVM_PARAM = {
  /** How events arrive; see {@link HVM_CALLBACK_TYPE}. */
  CALLBACK_IRQ: 0,
  /** Frame of the xenstore ring. */
  STORE_PFN: 1,
  /** Port of the xenstore ring. */
  STORE_EVTCHN: 2,
  /** PAE is allowed. */
  PAE_ENABLED: 4,
  /** Frame of the device model's requests. */
  IOREQ_PFN: 5,
  /** Frame of the device model's buffered requests. */
  BUFIOREQ_PFN: 6,
  /** Hyper-V features. */
  VIRIDIAN: 9,
  /** How missed ticks are made up for. */
  TIMER_MODE: 10,
  /** There is an HPET. */
  HPET_ENABLED: 11,
  /** Frame of an identity page table. */
  IDENT_PT: 12,
  /** Domain of the device model, obsolete. */
  DM_DOMAIN: 13,
  /** ACPI sleep state. */
  ACPI_S_STATE: 14,
  /** Address of a TSS for virtual-8086 mode. */
  VM86_TSS: 15,
  /** Aligns virtual timers. */
  VPT_ALIGN: 16,
  /** Frame of the console ring. */
  CONSOLE_PFN: 17,
  /** Port of the console ring. */
  CONSOLE_EVTCHN: 18,
  /** Where ACPI's I/O ports are. */
  ACPI_IOPORTS_LOCATION: 19,
  /** Reports writes to CR0, obsolete. */
  MEMORY_EVENT_CR0: 20,
  /** Reports writes to CR3, obsolete. */
  MEMORY_EVENT_CR3: 21,
  /** Reports writes to CR4, obsolete. */
  MEMORY_EVENT_CR4: 22,
  /** Reports breakpoints, obsolete. */
  MEMORY_EVENT_INT3: 23,
  /** Nested virtualization. */
  NESTEDHVM: 24,
  /** Reports single steps, obsolete. */
  MEMORY_EVENT_SINGLE_STEP: 25,
  /** Port of the buffered requests. */
  BUFIOREQ_EVTCHN: 26,
  /** Frame of the paging ring. */
  PAGING_RING_PFN: 27,
  /** Frame of the monitor ring. */
  MONITOR_RING_PFN: 28,
  /** Frame of the sharing ring. */
  SHARING_RING_PFN: 29,
  /** Reports writes to MSRs, obsolete. */
  MEMORY_EVENT_MSR: 30,
  /** The shutdown reason of a triple fault. */
  TRIPLE_FAULT_REASON: 31,
  /** First frame for device models. */
  IOREQ_SERVER_PFN: 32,
  /** Frames for device models. */
  NR_IOREQ_SERVER_PAGES: 33,
  /** Address of the generation id. */
  VM_GENERATION_ID_ADDR: 34,
  /** Alternate physical maps. */
  ALTP2M: 35,
  /** Width of the saved x87 instruction pointer. */
  X87_FIP_WIDTH: 36,
  /** Address and size of a TSS for virtual-8086 mode. */
  VM86_TSS_SIZED: 37,
  /** Machine-check capabilities. */
  MCA_CAP: 38,
} as const;

/** Bits 56-63 of `HVM_PARAM.CALLBACK_IRQ`: `HVM_PARAM_CALLBACK_TYPE_*` of `hvm/params.h`. */
export const HVM_CALLBACK_TYPE = {
  /** An interrupt line. */
  GSI: 0,
  /** A PCI device's interrupt pin. */
  PCI_INTX: 1,
  /** A vector. */
  VECTOR: 2,
} as const;

/** Highest leaf, counted from the first: `XEN_CPUID_MAX_NUM_LEAVES` of `arch-x86/cpuid.h`. */
export const XEN_CPUID_MAX_NUM_LEAVES = 5;
/** Bit of leaf `hypercall`'s ecx: `MMU.PT_UPDATE_PRESERVE_AD` works (`arch-x86/cpuid.h`). */
export const XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD = 1;
/** Bits of leaf `limits`' ebx that hold the width of machine addresses (`arch-x86/cpuid.h`). */
export const XEN_CPUID_MACHINE_ADDRESS_WIDTH_MASK = 0xff;
/** First word of `hvm_start_info`: "xEn3" with its top bit set (`hvm/start_info.h`). */
export const XEN_HVM_START_MAGIC_VALUE = 0x336ec578;
/** The five bytes that, before an instruction, ask Xen to emulate it: `ud2a` and "xen" (`arch-x86/xen.h`). */
export const XEN_EMULATE_PREFIX: readonly number[] = [0x0f, 0x0b, 0x78, 0x65, 0x6e];
