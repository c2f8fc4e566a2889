// A table: Constants of elfnote.h, arch-x86/cpuid.h, hvm/start_info.h and hvm/params.h.

/** Types of ELF notes named "Xen": `XEN_ELFNOTE_*` of `elfnote.h`. */
export const ELFNOTE = {
  INFO: 0,
  ENTRY: 1,
  HYPERCALL_PAGE: 2,
  VIRT_BASE: 3,
  PADDR_OFFSET: 4,
  XEN_VERSION: 5,
  GUEST_OS: 6,
  GUEST_VERSION: 7,
  LOADER: 8,
  PAE_MODE: 9,
  FEATURES: 10,
  BSD_SYMTAB: 11,
  HV_START_LOW: 12,
  L1_MFN_VALID: 13,
  SUSPEND_CANCEL: 14,
  INIT_P2M: 15,
  MOD_START_PFN: 16,
  SUPPORTED_FEATURES: 17,
  PHYS32_ENTRY: 18,
  CRASH_INFO: 0x1000001,
  CRASH_REGS: 0x1000002,
  DUMPCORE_NONE: 0x2000000,
  DUMPCORE_HEADER: 0x2000001,
  DUMPCORE_XEN_VERSION: 0x2000002,
  DUMPCORE_FORMAT_VERSION: 0x2000003,
} as const;

/** CPUID leaves of Xen at their first base: `XEN_CPUID_LEAF(i)` of `arch-x86/cpuid.h`. */
export const XEN_CPUID_LEAVES = {
  signature: 0x40000000,
  version: 0x40000001,
  hypercall: 0x40000002,
  time: 0x40000003,
  hvm: 0x40000004,
  limits: 0x40000005,
} as const;

/** What leaf `signature` answers, "XenVMMXenVMM": `XEN_CPUID_SIGNATURE_*` of `arch-x86/cpuid.h`. */
export const XEN_CPUID_SIGNATURE = {
  EBX: 0x566e6558,
  ECX: 0x65584d4d,
  EDX: 0x4d4d566e,
} as const;

/** Bits of leaf `hvm`'s eax: `XEN_HVM_CPUID_*` of `arch-x86/cpuid.h`. */
export const XEN_HVM_CPUID = {
  APIC_ACCESS_VIRT: 0x1,
  X2APIC_VIRT: 0x2,
  IOMMU_MAPPINGS: 0x4,
  VCPU_ID_PRESENT: 0x8,
  DOMID_PRESENT: 0x10,
  EXT_DEST_ID: 0x20,
  UPCALL_VECTOR: 0x40,
} as const;

/** Values of `hvm_memmap_table_entry.type`: `XEN_HVM_MEMMAP_TYPE_*` of `hvm/start_info.h`. */
export const HVM_MEMMAP = {
  RAM: 1,
  RESERVED: 2,
  ACPI: 3,
  NVS: 4,
  UNUSABLE: 5,
  DISABLED: 6,
  PMEM: 7,
} as const;

/** Indices for `HVMOP.get_param` and `HVMOP.set_param`: `HVM_PARAM_*` of `hvm/params.h`. */
export const HVM_PARAM = {
  CALLBACK_IRQ: 0,
  STORE_PFN: 1,
  STORE_EVTCHN: 2,
  PAE_ENABLED: 4,
  IOREQ_PFN: 5,
  BUFIOREQ_PFN: 6,
  VIRIDIAN: 9,
  TIMER_MODE: 10,
  HPET_ENABLED: 11,
  IDENT_PT: 12,
  DM_DOMAIN: 13,
  ACPI_S_STATE: 14,
  VM86_TSS: 15,
  VPT_ALIGN: 16,
  CONSOLE_PFN: 17,
  CONSOLE_EVTCHN: 18,
  ACPI_IOPORTS_LOCATION: 19,
  MEMORY_EVENT_CR0: 20,
  MEMORY_EVENT_CR3: 21,
  MEMORY_EVENT_CR4: 22,
  MEMORY_EVENT_INT3: 23,
  NESTEDHVM: 24,
  MEMORY_EVENT_SINGLE_STEP: 25,
  BUFIOREQ_EVTCHN: 26,
  PAGING_RING_PFN: 27,
  MONITOR_RING_PFN: 28,
  SHARING_RING_PFN: 29,
  MEMORY_EVENT_MSR: 30,
  TRIPLE_FAULT_REASON: 31,
  IOREQ_SERVER_PFN: 32,
  NR_IOREQ_SERVER_PAGES: 33,
  VM_GENERATION_ID_ADDR: 34,
  ALTP2M: 35,
  X87_FIP_WIDTH: 36,
  VM86_TSS_SIZED: 37,
  MCA_CAP: 38,
} as const;

/** Bits 56-63 of `HVM_PARAM.CALLBACK_IRQ`: `HVM_PARAM_CALLBACK_TYPE_*` of `hvm/params.h`. */
export const HVM_CALLBACK_TYPE = {
  GSI: 0,
  PCI_INTX: 1,
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
