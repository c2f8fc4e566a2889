// A table: Constants of xen.h, sched.h, vcpu.h, version.h, features.h, callback.h, nmi.h, physdev.h, memory.h and pmu.h.

/** Virtual interrupts for `EVTCHNOP.bind_virq`: `VIRQ_*` of `xen.h`. */
export const VIRQ = {
  TIMER: 0,
  DEBUG: 1,
  CONSOLE: 2,
  DOM_EXC: 3,
  TBUF: 4,
  DEBUGGER: 6,
  XENOPROF: 7,
  CON_RING: 8,
  PCPU_STATE: 9,
  MEM_EVENT: 10,
  ARGO: 11,
  ENOMEM: 12,
  XENPMU: 13,
  ARCH_0: 16,
  ARCH_1: 17,
  ARCH_2: 18,
  ARCH_3: 19,
  ARCH_4: 20,
  ARCH_5: 21,
  ARCH_6: 22,
  ARCH_7: 23,
} as const;

/** What the low two bits of `mmu_update.ptr` ask for: `MMU_*` of `xen.h`. */
export const MMU = {
  NORMAL_PT_UPDATE: 0,
  MACHPHYS_UPDATE: 1,
  PT_UPDATE_PRESERVE_AD: 2,
  PT_UPDATE_NO_TRANSLATE: 3,
} as const;

/** Flags of `update_va_mapping`: the flush type in bits 0-1, whom it reaches in bits 2 and up (`ALL`, or the address of a VCPU bitmap): `UVMF_*` of `xen.h`. */
export const UVMF = {
  LOCAL: 0,
  MULTI: 0,
  NONE: 0,
  TLB_FLUSH: 1,
  INVLPG: 2,
  FLUSHTYPE_MASK: 3,
  ALL: 4,
} as const;

/** Assists that `vm_assist` turns on and off, as bit numbers: `VMASST_TYPE_*` of `xen.h`. */
export const VMASST = {
  "4gb_segments": 0,
  "4gb_segments_notify": 1,
  writable_pagetables: 2,
  pae_extended_cr3: 3,
  architectural_iopl: 4,
  runstate_update_flag: 5,
  m2p_strict: 32,
} as const;

/** Domain ids with a meaning of their own: `DOMID_*` of `xen.h`. */
export const DOMID = {
  FIRST_RESERVED: 0x7ff0,
  SELF: 0x7ff0,
  IO: 0x7ff1,
  XEN: 0x7ff2,
  COW: 0x7ff3,
  INVALID: 0x7ff4,
  IDLE: 0x7fff,
  MASK: 0x7fff,
} as const;

/** Bits of `start_info.flags`: `SIF_*` of `xen.h`. */
export const SIF = {
  PRIVILEGED: 0x1,
  INITDOMAIN: 0x2,
  MULTIBOOT_MOD: 0x4,
  MOD_START_PFN: 0x8,
  VIRT_P2M_4TOOLS: 0x10,
  PM_MASK: 0xff00,
} as const;

/** Bits of `vcpu_time_info.flags`: `XEN_PVCLOCK_*` of `xen.h`. */
export const XENPVCLOCK = {
  TSC_STABLE_BIT: 1,
  GUEST_STOPPED: 2,
} as const;

/** Bits of `vcpu_guest_context.flags`; `in_syscall` is also tested in `iret_context.flags`: `VGCF_*` of `arch-x86/xen.h`. */
export const VGCF = {
  i387_valid: 0x1,
  in_kernel: 0x4,
  failsafe_disables_events: 0x8,
  syscall_disables_events: 0x10,
  online: 0x20,
  in_syscall: 0x100,
} as const;

/** Selectors of the flat segments that Xen provides to x86-64 guests: `FLAT_*` of `xen-x86_64.h`. */
export const FLAT = {
  KERNEL_CS: 0xe033,
  KERNEL_DS: 0x0,
  KERNEL_SS: 0xe02b,
  USER_CS: 0xe033,
  USER_DS: 0x0,
  USER_SS: 0xe02b,
  RING3_CS32: 0xe023,
  RING3_CS64: 0xe033,
  RING3_DS32: 0xe02b,
  RING3_DS64: 0x0,
  RING3_SS32: 0xe02b,
  RING3_SS64: 0xe02b,
} as const;

/** Selectors of the flat segments that Xen provides to 32-bit guests: `FLAT_*` of `xen-x86_32.h`. */
export const FLAT_X86_32 = {
  RING1_CS: 0xe019,
  RING1_DS: 0xe021,
  RING1_SS: 0xe021,
  RING3_CS: 0xe02b,
  RING3_DS: 0xe033,
  RING3_SS: 0xe033,
} as const;

/** What `set_segment_base` sets: `SEGBASE_*` of `xen-x86_64.h`. */
export const SEGBASE = {
  FS: 0,
  GS_USER: 1,
  GS_KERNEL: 2,
  GS_USER_SEL: 3,
} as const;

/** Reasons for `SCHEDOP.shutdown`: `SHUTDOWN_*` of `sched.h`. */
export const SHUTDOWN = {
  poweroff: 0,
  reboot: 1,
  suspend: 2,
  crash: 3,
  watchdog: 4,
  soft_reset: 5,
} as const;

/** Values of `vcpu_runstate_info.state` and indices of its `time`: `RUNSTATE_*` of `vcpu.h`. */
export const RUNSTATE = {
  running: 0,
  runnable: 1,
  blocked: 2,
  offline: 3,
} as const;

/** Features that `XENVER.get_features` reports, as bit numbers: `XENFEAT_*` of `features.h`. */
export const XENFEAT = {
  writable_page_tables: 0,
  writable_descriptor_tables: 1,
  auto_translated_physmap: 2,
  supervisor_mode_kernel: 3,
  pae_pgdir_above_4gb: 4,
  mmu_pt_update_preserve_ad: 5,
  highmem_assist: 6,
  gnttab_map_avail_bits: 7,
  hvm_callback_vector: 8,
  hvm_safe_pvclock: 9,
  hvm_pirqs: 10,
  dom0: 11,
  memory_op_vnode_supported: 13,
  ARM_SMCCC_supported: 14,
  linux_rsdp_unrestricted: 15,
  not_direct_mapped: 16,
  direct_mapped: 17,
} as const;

/** Callbacks that `callback_op` registers: `CALLBACKTYPE_*` of `callback.h`. */
export const CALLBACKTYPE = {
  event: 0,
  failsafe: 1,
  syscall: 2,
  sysenter_deprecated: 3,
  nmi: 4,
  sysenter: 5,
  syscall32: 7,
} as const;

/** Flags of `callback_register`: `CALLBACKF_*` of `callback.h`. */
export const CALLBACKF = {
  mask_events: 1,
} as const;

/** Bits of `arch_shared_info.nmi_reason`: `XEN_NMIREASON_*` of `nmi.h`. */
export const NMIREASON = {
  io_error: 1,
  pci_serr: 2,
  unknown: 4,
} as const;

/** Bits of `physdev_irq_status_query.flags`: `XENIRQSTAT_*` of `physdev.h`. */
export const XENIRQSTAT = {
  needs_eoi: 1,
  shared: 2,
} as const;

/** Values of `physdev_map_pirq.type`: `MAP_PIRQ_TYPE_*` of `physdev.h`. */
export const MAP_PIRQ_TYPE = {
  MSI: 0,
  GSI: 1,
  UNKNOWN: 2,
  MSI_SEG: 3,
  MULTI_MSI: 4,
} as const;

/** Flags of `xen_memory_reservation.mem_flags` above the address width in bits 0-7: `XENMEMF_*` of `memory.h`. */
export const XENMEMF = {
  populate_on_demand: 0x10000,
  exact_node_request: 0x20000,
  vnode: 0x40000,
} as const;

/** Spaces of `xen_add_to_physmap`: `XENMAPSPACE_*` of `memory.h`. */
export const XENMAPSPACE = {
  shared_info: 0,
  grant_table: 1,
  gmfn: 2,
  gmfn_range: 3,
  gmfn_foreign: 4,
  dev_mmio: 5,
} as const;

/** Values of `xen_mem_acquire_resource.type`: `XENMEM_resource_*` of `memory.h`. */
export const XENMEM_RESOURCE = {
  ioreq_server: 0,
  grant_table: 1,
  vmtrace_buf: 2,
} as const;

/** PMU modes: `XENPMU_MODE_*` of `pmu.h`. */
export const XENPMU_MODE = {
  OFF: 0,
  SELF: 1,
  HV: 2,
  ALL: 4,
} as const;

/** PMU features: `XENPMU_FEATURE_*` of `pmu.h`. */
export const XENPMU_FEATURE = {
  INTEL_BTS: 1,
  IPC_ONLY: 2,
  ARCH_ONLY: 4,
} as const;

/** Version of the PMU interface: `XENPMU_VER_*` of `pmu.h`. */
export const XENPMU_VER = {
  MAJ: 0,
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
  HYPERVISOR_VIRT_START: 0xffff800000000000n,
  HYPERVISOR_VIRT_END: 0xffff880000000000n,
  MACH2PHYS_VIRT_START: 0xffff800000000000n,
  MACH2PHYS_VIRT_END: 0xffff804000000000n,
} as const;
/** Where Xen lives in a 32-bit PAE guest's address space, as addresses: `xen-x86_32.h`. */
export const VIRT_X86_32 = {
  HYPERVISOR_VIRT_START_PAE: 0xf5800000n,
  MACH2PHYS_VIRT_START_PAE: 0xf5800000n,
  MACH2PHYS_VIRT_END_PAE: 0xf6800000n,
} as const;
