// A table: Constants of xen.h, sched.h, vcpu.h, version.h, features.h, callback.h, nmi.h, physdev.h, memory.h and pmu.h.

/** Virtual interrupts for `EVTCHNOP.bind_virq`: `VIRQ_*` of `xen.h`. */
export const VIRQ = {
  /** The VCPU's timer; one for each VCPU. */
  TIMER: 0,
  /** Asks the guest to dump its state; one for each VCPU. */
  DEBUG: 1,
  /** Bytes came in on the emergency console; dom0. */
  CONSOLE: 2,
  /** Something happened to a domain; dom0. */
  DOM_EXC: 3,
  /** The trace buffer has records; dom0. */
  TBUF: 4,
  /** A domain stopped for a debugger; dom0. */
  DEBUGGER: 6,
  /** A profiling sample; one for each VCPU. */
  XENOPROF: 7,
  /** The console ring has output; dom0. */
  CON_RING: 8,
  /** A processor came or went; dom0. */
  PCPU_STATE: 9,
  /** A memory event, obsolete; dom0. */
  MEM_EVENT: 10,
  /** An Argo message came. */
  ARGO: 11,
  /** Xen is short of memory; dom0. */
  ENOMEM: 12,
  /** A performance counter overflowed. */
  XENPMU: 13,
  /** On x86: machine check; dom0. */
  ARCH_0: 16,
  /** Unused on x86. */
  ARCH_1: 17,
  /** Unused on x86. */
  ARCH_2: 18,
  /** Unused on x86. */
  ARCH_3: 19,
  /** Unused on x86. */
  ARCH_4: 20,
  /** Unused on x86. */
  ARCH_5: 21,
  /** Unused on x86. */
  ARCH_6: 22,
  /** Unused on x86. */
  ARCH_7: 23,
} as const;

/** What the low two bits of `mmu_update.ptr` ask for: `MMU_*` of `xen.h`. */
export const MMU = {
  /** Writes a page-table entry. */
  NORMAL_PT_UPDATE: 0,
  /** Writes an entry of the M2P table. */
  MACHPHYS_UPDATE: 1,
  /** Writes a page-table entry, keeping accessed and dirty bits. */
  PT_UPDATE_PRESERVE_AD: 2,
  /** Writes an entry whose frame is not translated; not for PV guests. */
  PT_UPDATE_NO_TRANSLATE: 3,
} as const;

/** Flags of `update_va_mapping`: the flush type in bits 0-1, whom it reaches in bits 2 and up (`ALL`, or the address of a VCPU bitmap): `UVMF_*` of `xen.h`. */
export const UVMF = {
  /** Flushes on this processor. */
  LOCAL: 0,
  /** Flushes on the VCPUs of a bitmap, whose address is in the other bits. */
  MULTI: 0,
  /** Flushes nothing. */
  NONE: 0,
  /** Flushes the whole TLB. */
  TLB_FLUSH: 1,
  /** Flushes this one page. */
  INVLPG: 2,
  /** The bits that hold the flush type. */
  FLUSHTYPE_MASK: 3,
  /** Flushes on all processors. */
  ALL: 4,
} as const;

/** Assists that `vm_assist` turns on and off, as bit numbers: `VMASST_TYPE_*` of `xen.h`. */
export const VMASST = {
  /** Emulates segments that wrap at 4 GiB; 32 bits. */
  "4gb_segments": 0,
  /** Tells the guest of each such emulation. */
  "4gb_segments_notify": 1,
  /** Emulates writes to page tables. */
  writable_pagetables: 2,
  /** CR3 holds a full frame number; 32 bits. */
  pae_extended_cr3: 3,
  /** The I/O privilege level is in the flags of an iret frame. */
  architectural_iopl: 4,
  /** Xen marks `vcpu_runstate_info` while it writes it. */
  runstate_update_flag: 5,
  /** The M2P table is hidden from user mode. */
  m2p_strict: 32,
} as const;

/** Domain ids with a meaning of their own: `DOMID_*` of `xen.h`. */
export const DOMID = {
  /** The first id that is no domain's. */
  FIRST_RESERVED: 0x7ff0,
  /** The caller itself. */
  SELF: 0x7ff0,
  /** Memory of devices. */
  IO: 0x7ff1,
  /** Memory of Xen. */
  XEN: 0x7ff2,
  /** Shared memory. */
  COW: 0x7ff3,
  /** No domain. */
  INVALID: 0x7ff4,
  /** The idle domain. */
  IDLE: 0x7fff,
  /** The bits of a domain id. */
  MASK: 0x7fff,
} as const;

/** Bits of `start_info.flags`: `SIF_*` of `xen.h`. */
export const SIF = {
  /** The domain is privileged. */
  PRIVILEGED: 0x1,
  /** The domain is dom0. */
  INITDOMAIN: 0x2,
  /** `mod_start` is the address of a multiboot module list. */
  MULTIBOOT_MOD: 0x4,
  /** `mod_start` is a frame number, not an address. */
  MOD_START_PFN: 0x8,
  /** Tools understand a linear P2M table. */
  VIRT_P2M_4TOOLS: 0x10,
  /** The bits that pass power-management hints. */
  PM_MASK: 0xff00,
} as const;

/** Bits of `vcpu_time_info.flags`: `XEN_PVCLOCK_*` of `xen.h`. */
export const XENPVCLOCK = {
  /** All VCPUs' times are from one steady TSC. */
  TSC_STABLE_BIT: 1,
  /** The guest was stopped. */
  GUEST_STOPPED: 2,
} as const;

/** Bits of `vcpu_guest_context.flags`; `in_syscall` is also tested in `iret_context.flags`: `VGCF_*` of `arch-x86/xen.h`. */
export const VGCF = {
  /** `fpu_ctxt` holds a state. */
  i387_valid: 0x1,
  /** The VCPU starts in kernel mode. */
  in_kernel: 0x4,
  /** The failsafe callback is entered with events masked. */
  failsafe_disables_events: 0x8,
  /** The syscall callback is entered with events masked. */
  syscall_disables_events: 0x10,
  /** The VCPU is online. */
  online: 0x20,
  /** The frame was left by `syscall`: rcx and r11 are not restored. */
  in_syscall: 0x100,
} as const;

/** Selectors of the flat segments that Xen provides to x86-64 guests: `FLAT_*` of `xen-x86_64.h`. */
export const FLAT = {
  /** Code of a 64-bit kernel. */
  KERNEL_CS: 0xe033,
  /** Data of a 64-bit kernel: the null selector. */
  KERNEL_DS: 0x0,
  /** Stack of a 64-bit kernel. */
  KERNEL_SS: 0xe02b,
  /** Code of 64-bit user mode. */
  USER_CS: 0xe033,
  /** Data of 64-bit user mode: the null selector. */
  USER_DS: 0x0,
  /** Stack of 64-bit user mode. */
  USER_SS: 0xe02b,
  /** 32-bit code. */
  RING3_CS32: 0xe023,
  /** 64-bit code. */
  RING3_CS64: 0xe033,
  /** 32-bit data. */
  RING3_DS32: 0xe02b,
  /** The null selector. */
  RING3_DS64: 0x0,
  /** 32-bit stack. */
  RING3_SS32: 0xe02b,
  /** 64-bit stack. */
  RING3_SS64: 0xe02b,
} as const;

/** Selectors of the flat segments that Xen provides to 32-bit guests: `FLAT_*` of `xen-x86_32.h`. */
export const FLAT_X86_32 = {
  /** Code of the kernel. */
  RING1_CS: 0xe019,
  /** Data of the kernel. */
  RING1_DS: 0xe021,
  /** Stack of the kernel. */
  RING1_SS: 0xe021,
  /** Code of user mode. */
  RING3_CS: 0xe02b,
  /** Data of user mode. */
  RING3_DS: 0xe033,
  /** Stack of user mode. */
  RING3_SS: 0xe033,
} as const;

/** What `set_segment_base` sets: `SEGBASE_*` of `xen-x86_64.h`. */
export const SEGBASE = {
  /** Base of FS. */
  FS: 0,
  /** Base of GS in user mode. */
  GS_USER: 1,
  /** Base of GS in kernel mode. */
  GS_KERNEL: 2,
  /** Selector of GS in user mode. */
  GS_USER_SEL: 3,
} as const;

/** Reasons for `SCHEDOP.shutdown`: `SHUTDOWN_*` of `sched.h`. */
export const SHUTDOWN = {
  /** The domain ended in order. */
  poweroff: 0,
  /** The domain wants to start again. */
  reboot: 1,
  /** The domain is ready to be saved. */
  suspend: 2,
  /** The domain crashed. */
  crash: 3,
  /** A watchdog expired. */
  watchdog: 4,
  /** The domain wants to start again, keeping its memory. */
  soft_reset: 5,
} as const;

/** Values of `vcpu_runstate_info.state` and indices of its `time`: `RUNSTATE_*` of `vcpu.h`. */
export const RUNSTATE = {
  /** On a processor. */
  running: 0,
  /** Waiting for a processor. */
  runnable: 1,
  /** Waiting for an event. */
  blocked: 2,
  /** Not to run. */
  offline: 3,
} as const;

/** Features that `XENVER.get_features` reports, as bit numbers: `XENFEAT_*` of `features.h`. */
export const XENFEAT = {
  /** The guest may write its page tables. */
  writable_page_tables: 0,
  /** The guest may write its descriptor tables. */
  writable_descriptor_tables: 1,
  /** Guest frames are not machine frames. */
  auto_translated_physmap: 2,
  /** The kernel runs in ring 0. */
  supervisor_mode_kernel: 3,
  /** The page directory may lie above 4 GiB. */
  pae_pgdir_above_4gb: 4,
  /** `MMU.PT_UPDATE_PRESERVE_AD` works. */
  mmu_pt_update_preserve_ad: 5,
  /** Commands for pages without a mapping work. */
  highmem_assist: 6,
  /** Grant mappings honour the available bits of entries. */
  gnttab_map_avail_bits: 7,
  /** Events can arrive with a vector. */
  hvm_callback_vector: 8,
  /** The PV clock is usable in HVM guests. */
  hvm_safe_pvclock: 9,
  /** Physical interrupts work in HVM guests. */
  hvm_pirqs: 10,
  /** The domain is dom0. */
  dom0: 11,
  /** `XENMEMF.vnode` works. */
  memory_op_vnode_supported: 13,
  /** Arm. */
  ARM_SMCCC_supported: 14,
  /** Linux may find the RSDP anywhere. */
  linux_rsdp_unrestricted: 15,
  /** Guest frames are certainly not machine frames. */
  not_direct_mapped: 16,
  /** Guest frames are certainly machine frames. */
  direct_mapped: 17,
} as const;

/** Callbacks that `callback_op` registers: `CALLBACKTYPE_*` of `callback.h`. */
export const CALLBACKTYPE = {
  /** An event is pending. */
  event: 0,
  /** A return to the guest failed. */
  failsafe: 1,
  /** `syscall` in 64-bit user mode. */
  syscall: 2,
  /** The old number of `sysenter`. */
  sysenter_deprecated: 3,
  /** A non-maskable interrupt. */
  nmi: 4,
  /** `sysenter` in user mode. */
  sysenter: 5,
  /** `syscall` in 32-bit user mode. */
  syscall32: 7,
} as const;

/** Flags of `callback_register`: `CALLBACKF_*` of `callback.h`. */
export const CALLBACKF = {
  /** The callback is entered with events masked. */
  mask_events: 1,
} as const;

/** Bits of `arch_shared_info.nmi_reason`: `XEN_NMIREASON_*` of `nmi.h`. */
export const NMIREASON = {
  /** I/O check. */
  io_error: 1,
  /** PCI system error. */
  pci_serr: 2,
  /** Unknown. */
  unknown: 4,
} as const;

/** Bits of `physdev_irq_status_query.flags`: `XENIRQSTAT_*` of `physdev.h`. */
export const XENIRQSTAT = {
  /** The interrupt must be ended with `PHYSDEVOP.eoi`. */
  needs_eoi: 1,
  /** The interrupt is shared with other domains. */
  shared: 2,
} as const;

/** Values of `physdev_map_pirq.type`: `MAP_PIRQ_TYPE_*` of `physdev.h`. */
export const MAP_PIRQ_TYPE = {
  /** Message-signalled. */
  MSI: 0,
  /** An interrupt line. */
  GSI: 1,
  /** Unknown. */
  UNKNOWN: 2,
  /** Message-signalled, with the segment in `bus`. */
  MSI_SEG: 3,
  /** Several messages at once. */
  MULTI_MSI: 4,
} as const;

/** Flags of `xen_memory_reservation.mem_flags` above the address width in bits 0-7: `XENMEMF_*` of `memory.h`. */
export const XENMEMF = {
  /** Leaves the frames to be allocated on first use. */
  populate_on_demand: 0x10000,
  /** Wants the given NUMA node or nothing. */
  exact_node_request: 0x20000,
  /** The node is a virtual one. */
  vnode: 0x40000,
} as const;

/** Spaces of `xen_add_to_physmap`: `XENMAPSPACE_*` of `memory.h`. */
export const XENMAPSPACE = {
  /** The shared info page. */
  shared_info: 0,
  /** A frame of the grant table. */
  grant_table: 1,
  /** A guest frame. */
  gmfn: 2,
  /** A range of guest frames. */
  gmfn_range: 3,
  /** A guest frame of another domain. */
  gmfn_foreign: 4,
  /** Memory of a device. */
  dev_mmio: 5,
} as const;

/** Values of `xen_mem_acquire_resource.type`: `XENMEM_resource_*` of `memory.h`. */
export const XENMEM_RESOURCE = {
  /** Pages of a device model. */
  ioreq_server: 0,
  /** Frames of a grant table. */
  grant_table: 1,
  /** A VCPU's trace buffer. */
  vmtrace_buf: 2,
} as const;

/** PMU modes: `XENPMU_MODE_*` of `pmu.h`. */
export const XENPMU_MODE = {
  /** Off. */
  OFF: 0,
  /** The guest counts itself. */
  SELF: 1,
  /** The guest counts itself and Xen; dom0. */
  HV: 2,
  /** dom0 counts everything. */
  ALL: 4,
} as const;

/** PMU features: `XENPMU_FEATURE_*` of `pmu.h`. */
export const XENPMU_FEATURE = {
  /** Branch trace store. */
  INTEL_BTS: 1,
  /** Only instructions and cycles. */
  IPC_ONLY: 2,
  /** Only architectural events. */
  ARCH_ONLY: 4,
} as const;

/** Version of the PMU interface: `XENPMU_VER_*` of `pmu.h`. */
export const XENPMU_VER = {
  /** Major. */
  MAJ: 0,
  /** Minor. */
  MIN: 1,
} as const;

/** Bit of `vcpu_runstate_info.state_entry_time` that is set while the hypervisor writes the area, if `VMASST.runstate_update_flag` is on. */
export const XEN_RUNSTATE_UPDATE = 0x8000000000000000n;
/** Flag of `vcpu_set_singleshot_timer`: answer `-ETIME` if the time has passed (`vcpu.h`). */
export const VCPU_SSHOTTMR_future = 1;
/** Number of virtual interrupts: `NR_VIRQS` of `xen.h`. */
export const NR_VIRQS = 24;
/** VCPUs whose `vcpu_info` lies in the shared info page; others must register theirs (`arch-x86/xen.h`). */
export const XEN_LEGACY_MAX_VCPUS = 32;
/** Bytes of `start_info.cmd_line`, terminator included: `MAX_GUEST_CMDLINE` of `xen.h`. */
export const MAX_GUEST_CMDLINE = 1024;
/** First of the GDT's pages that belong to Xen; a guest's own GDT ends before it (`arch-x86/xen.h`). */
export const FIRST_RESERVED_GDT_PAGE = 14;
/** First descriptor of the GDT that belongs to Xen (`arch-x86/xen.h`). */
export const FIRST_RESERVED_GDT_ENTRY = 7168;
/** Words of 32 feature bits that `XENVER.get_features` knows: `XENFEAT_NR_SUBMAPS` of `features.h`. */
export const XENFEAT_NR_SUBMAPS = 1;
/** Flag in `xen_add_to_physmap.idx`: the status frames of a version 2 grant table (`memory.h`). */
export const XENMAPIDX_grant_table_status = 0x80000000;

/** Where Xen lives in an x86-64 guest's address space, as addresses: `xen-x86_64.h`. */
export const VIRT_X86_64 = {
  /** First address that is Xen's. */
  HYPERVISOR_VIRT_START: 0xffff800000000000n,
  /** First address after Xen's. */
  HYPERVISOR_VIRT_END: 0xffff880000000000n,
  /** First address of the M2P table. */
  MACH2PHYS_VIRT_START: 0xffff800000000000n,
  /** First address after the M2P table. */
  MACH2PHYS_VIRT_END: 0xffff804000000000n,
} as const;
/** Where Xen lives in a 32-bit PAE guest's address space, as addresses: `xen-x86_32.h`. */
export const VIRT_X86_32 = {
  /** First address that is Xen's. */
  HYPERVISOR_VIRT_START_PAE: 0xf5800000n,
  /** First address of the M2P table. */
  MACH2PHYS_VIRT_START_PAE: 0xf5800000n,
  /** First address after the M2P table. */
  MACH2PHYS_VIRT_END_PAE: 0xf6800000n,
} as const;
