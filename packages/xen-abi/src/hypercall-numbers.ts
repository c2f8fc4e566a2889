// A table: Hypercall numbers and the commands that travel in a register; the names of both come from these tables.

/** Hypercall numbers, in rax (eax) at the call: `__HYPERVISOR_*` of `xen.h`. */
export const HYPERVISOR = {
  /** Sets exception handlers from an array of `trap_info`. */
  set_trap_table: 0,
  /** Writes page-table entries or the M2P table. */
  mmu_update: 1,
  /** Sets the frames of the GDT. */
  set_gdt: 2,
  /** Sets the stack for entries from user mode. */
  stack_switch: 3,
  /** Sets event, failsafe and syscall callbacks; see `callback_op`. */
  set_callbacks: 4,
  /** Sets or clears CR0.TS. */
  fpu_taskswitch: 5,
  /** The `sched_op` of Xen 2, obsolete. */
  sched_op_compat: 6,
  /** Controls the machine; dom0 only. */
  platform_op: 7,
  /** Writes a debug register. */
  set_debugreg: 8,
  /** Reads a debug register. */
  get_debugreg: 9,
  /** Writes one descriptor of a GDT or LDT. */
  update_descriptor: 10,
  /** Memory: reservations, maps, translations. */
  memory_op: 12,
  /** Issues a list of hypercalls. */
  multicall: 13,
  /** Writes the last-level entry of a virtual address. */
  update_va_mapping: 14,
  /** Sets the VCPU's one-shot timer. */
  set_timer_op: 15,
  /** The `event_channel_op` with its command in a structure, obsolete. */
  event_channel_op_compat: 16,
  /** Version, features and names of this Xen. */
  xen_version: 17,
  /** Reads and writes the emergency console. */
  console_io: 18,
  /** The `physdev_op` with its command in a structure, obsolete. */
  physdev_op_compat: 19,
  /** Shares pages between domains. */
  grant_table_op: 20,
  /** Turns assists on and off. */
  vm_assist: 21,
  /** `update_va_mapping` for another domain's page. */
  update_va_mapping_otherdomain: 22,
  /** Returns from an interrupt or exception. */
  iret: 23,
  /** Starts, stops and times VCPUs. */
  vcpu_op: 24,
  /** Sets the base of FS or GS. */
  set_segment_base: 25,
  /** Pins tables, changes base pointers, flushes TLBs. */
  mmuext_op: 26,
  /** Security module. */
  xsm_op: 27,
  /** Registers an NMI handler. */
  nmi_op: 28,
  /** Yields, blocks, polls and shuts down. */
  sched_op: 29,
  /** Registers callbacks. */
  callback_op: 30,
  /** Profiling. */
  xenoprof_op: 31,
  /** Event channels. */
  event_channel_op: 32,
  /** Physical interrupts, I/O privileges and PCI devices. */
  physdev_op: 33,
  /** Parameters and interrupts of HVM and PVH guests. */
  hvm_op: 34,
  /** Controls the machine from the toolstack. */
  sysctl: 35,
  /** Controls domains from the toolstack. */
  domctl: 36,
  /** Loads and starts another kernel. */
  kexec_op: 37,
  /** Transcendent memory, removed. */
  tmem_op: 38,
  /** Message rings between domains. */
  argo_op: 39,
  /** Performance counters. */
  xenpmu_op: 40,
  /** What a device model may do. */
  dm_op: 41,
  /** Parameters of Xen as a file tree. */
  hypfs_op: 42,
  /** On x86: `mca`, machine checks. */
  arch_0: 48,
  /** On x86: `paging_domctl_cont`, private to Xen. */
  arch_1: 49,
  /** Unused on x86. */
  arch_2: 50,
  /** Unused on x86. */
  arch_3: 51,
  /** Unused on x86. */
  arch_4: 52,
  /** Unused on x86. */
  arch_5: 53,
  /** Unused on x86. */
  arch_6: 54,
  /** Unused on x86. */
  arch_7: 55,
} as const;

/** Commands of `console_io`: `CONSOLEIO_*` of `xen.h`. */
export const CONSOLEIO = {
  /** Writes a string. */
  write: 0,
  /** Reads what was typed. */
  read: 1,
} as const;

/** Commands of `vm_assist`: `VMASST_CMD_*` of `xen.h`. */
export const VMASST_CMD = {
  /** Turns an assist on. */
  enable: 0,
  /** Turns an assist off. */
  disable: 1,
} as const;

/** Commands of `sched_op`: `SCHEDOP_*` of `sched.h`. */
export const SCHEDOP = {
  /** Gives up the processor, staying runnable. */
  yield: 0,
  /** Enables events and waits for one. */
  block: 1,
  /** Shuts the domain down; argument `sched_shutdown`. */
  shutdown: 2,
  /** Waits for one of some ports; argument `sched_poll`. */
  poll: 3,
  /** Shuts another domain down; argument `sched_remote_shutdown`. */
  remote_shutdown: 4,
  /** Records the reason before a crash dump. */
  shutdown_code: 5,
  /** Sets or pets a watchdog; argument `sched_watchdog`. */
  watchdog: 6,
  /** Pins the VCPU to a physical processor; dom0 only. */
  pin_override: 7,
} as const;

/** Commands of `vcpu_op`: `VCPUOP_*` of `vcpu.h`. */
export const VCPUOP = {
  /** Sets an offline VCPU's state; argument `vcpu_guest_context`. */
  initialise: 0,
  /** Brings an initialised VCPU online. */
  up: 1,
  /** Takes a VCPU offline. */
  down: 2,
  /** Asks whether a VCPU is online: 1, 0 or -ENOENT. */
  is_up: 3,
  /** Reads `vcpu_runstate_info`. */
  get_runstate_info: 4,
  /** Names the address where Xen keeps `vcpu_runstate_info`. */
  register_runstate_memory_area: 5,
  /** Starts the periodic timer. */
  set_periodic_timer: 6,
  /** Stops the periodic timer. */
  stop_periodic_timer: 7,
  /** Sets the one-shot timer. */
  set_singleshot_timer: 8,
  /** Stops the one-shot timer. */
  stop_singleshot_timer: 9,
  /** Moves `vcpu_info` to a page of the guest's. */
  register_vcpu_info: 10,
  /** Sends an NMI to a VCPU. */
  send_nmi: 11,
  /** Reads the physical processor's id; hardware domain only. */
  get_physid: 12,
  /** Names the address where Xen keeps `vcpu_time_info` for user space. */
  register_vcpu_time_memory_area: 13,
} as const;

/** Commands of `event_channel_op`: `EVTCHNOP_*` of `event_channel.h`. */
export const EVTCHNOP = {
  /** Connects to an unbound port of another domain. */
  bind_interdomain: 0,
  /** Binds a virtual interrupt. */
  bind_virq: 1,
  /** Binds a physical interrupt. */
  bind_pirq: 2,
  /** Closes a port. */
  close: 3,
  /** Sends an event. */
  send: 4,
  /** Reads what a port is bound to. */
  status: 5,
  /** Makes a port that another domain may connect to. */
  alloc_unbound: 6,
  /** Makes a port for interrupts between VCPUs. */
  bind_ipi: 7,
  /** Chooses the VCPU that a port notifies. */
  bind_vcpu: 8,
  /** Unmasks a port, delivering what is pending. */
  unmask: 9,
  /** Closes all ports of a domain. */
  reset: 10,
  /** Sets a VCPU's FIFO control block. */
  init_control: 11,
  /** Adds a page to the FIFO event array. */
  expand_array: 12,
  /** Sets a port's FIFO priority. */
  set_priority: 13,
} as const;

/** Commands of `memory_op`: `XENMEM_*` of `memory.h`. The register's bits from {@link MEMOP_EXTENT_SHIFT} up carry a continuation, not the command. */
export const XENMEM = {
  /** Asks for more frames. */
  increase_reservation: 0,
  /** Gives frames back. */
  decrease_reservation: 1,
  /** Reads the machine's highest frame number. */
  maximum_ram_page: 2,
  /** Reads how many pages a domain has. */
  current_reservation: 3,
  /** Reads how many pages a domain may have. */
  maximum_reservation: 4,
  /** Reads the frames of the M2P table. */
  machphys_mfn_list: 5,
  /** Gets frames for given guest frames. */
  populate_physmap: 6,
  /** Puts a special page into a translated guest's map. */
  add_to_physmap: 7,
  /** Reads the guest's memory map. */
  memory_map: 9,
  /** Reads the machine's memory map; dom0 only. */
  machine_memory_map: 10,
  /** Exchanges frames, for contiguous memory. */
  exchange: 11,
  /** Reads where the M2P table is mapped. */
  machphys_mapping: 12,
  /** Sets a guest's memory map. */
  set_memory_map: 13,
  /** Reads a domain's highest guest frame number. */
  maximum_gpfn: 14,
  /** Takes a page out of a guest's map. */
  remove_from_physmap: 15,
  /** Sets the target of populate-on-demand. */
  set_pod_target: 16,
  /** Reads the target of populate-on-demand. */
  get_pod_target: 17,
  /** Reads how many pages sharing saved. */
  get_sharing_freed_pages: 18,
  /** Reads how many pages are shared. */
  get_sharing_shared_pages: 19,
  /** Paging of guest memory. */
  paging_op: 20,
  /** Access rights of guest memory. */
  access_op: 21,
  /** Sharing of guest memory. */
  sharing_op: 22,
  /** Puts several pages into a guest's map. */
  add_to_physmap_batch: 23,
  /** Claims pages for a domain. */
  claim_pages: 24,
  /** Reads the frames of the 32-bit M2P table. */
  machphys_compat_mfn_list: 25,
  /** Reads the guest's NUMA topology. */
  get_vnumainfo: 26,
  /** Reads memory that devices reserve. */
  reserved_device_memory_map: 27,
  /** Maps a resource of a domain. */
  acquire_resource: 28,
} as const;

/** Commands of `xen_version`: `XENVER_*` of `version.h`. */
export const XENVER = {
  /** Answers major << 16 | minor. */
  version: 0,
  /** Reads what follows the version number. */
  extraversion: 1,
  /** Reads who compiled this Xen, and how. */
  compile_info: 2,
  /** Reads the kinds of guests that this Xen runs. */
  capabilities: 3,
  /** Reads the source's revision. */
  changeset: 4,
  /** Reads where Xen starts in the guest's address space. */
  platform_parameters: 5,
  /** Reads 32 feature bits; argument `xen_feature_info`. */
  get_features: 6,
  /** Answers the page size. */
  pagesize: 7,
  /** Reads the domain's UUID. */
  guest_handle: 8,
  /** Reads Xen's command line. */
  commandline: 9,
  /** Reads Xen's build id. */
  build_id: 10,
} as const;

/** Commands of `callback_op`: `CALLBACKOP_*` of `callback.h`. */
export const CALLBACKOP = {
  /** Registers a callback. */
  register: 0,
  /** Removes a callback. */
  unregister: 1,
} as const;

/** Commands of `nmi_op`: `XENNMI_*` of `nmi.h`. */
export const XENNMI = {
  /** Registers the VCPU's NMI handler. */
  register_callback: 0,
  /** Removes the VCPU's NMI handler. */
  unregister_callback: 1,
} as const;

/** Commands of `physdev_op`: `PHYSDEVOP_*` of `physdev.h`. */
export const PHYSDEVOP = {
  /** Ends a physical interrupt, obsolete. */
  IRQ_UNMASK_NOTIFY: 4,
  /** Asks how a physical interrupt must be ended. */
  irq_status_query: 5,
  /** Sets the VCPU's I/O privilege level. */
  set_iopl: 6,
  /** Sets the VCPU's I/O permission bitmap. */
  set_iobitmap: 7,
  /** Reads a register of an I/O APIC. */
  apic_read: 8,
  /** Writes a register of an I/O APIC. */
  apic_write: 9,
  /** Allocates a vector, obsolete. */
  alloc_irq_vector: 10,
  /** Frees a vector, obsolete. */
  free_irq_vector: 11,
  /** Ends a physical interrupt. */
  eoi: 12,
  /** Maps an interrupt source to a pirq. */
  map_pirq: 13,
  /** Removes such a mapping. */
  unmap_pirq: 14,
  /** Reports a PCI device. */
  manage_pci_add: 15,
  /** Reports that a PCI device is gone. */
  manage_pci_remove: 16,
  /** Registers the page of pirqs that need an end, first version. */
  pirq_eoi_gmfn_v1: 17,
  /** Restores a device's MSI state. */
  restore_msi: 19,
  /** Reports a PCI device with its virtual functions. */
  manage_pci_add_ext: 20,
  /** Sets up an interrupt line. */
  setup_gsi: 21,
  /** Finds a free pirq. */
  get_free_pirq: 23,
  /** Reports an MMCONFIG region. */
  pci_mmcfg_reserved: 24,
  /** Reports a PCI device with its segment. */
  pci_device_add: 25,
  /** Reports that such a device is gone. */
  pci_device_remove: 26,
  /** Restores the MSI state of such a device. */
  restore_msi_ext: 27,
  /** Registers the page of pirqs that need an end. */
  pirq_eoi_gmfn_v2: 28,
  /** Tells of a reset of the USB debug port. */
  dbgp_op: 29,
  /** Prepares a device for MSI-X in another domain. */
  prepare_msix: 30,
  /** Undoes `prepare_msix`. */
  release_msix: 31,
} as const;

/** Commands of `grant_table_op`: `GNTTABOP_*` of `grant_table.h`. */
export const GNTTABOP = {
  /** Maps a page that another domain granted. */
  map_grant_ref: 0,
  /** Unmaps such a page. */
  unmap_grant_ref: 1,
  /** Makes the grant table at least so long and reads its frames. */
  setup_table: 2,
  /** Prints a grant table to Xen's console. */
  dump_table: 3,
  /** Gives a page to another domain. */
  transfer: 4,
  /** Copies bytes between pages, granted or own. */
  copy: 5,
  /** Reads the grant table's length and limit. */
  query_size: 6,
  /** Unmaps a page and moves another mapping to its place. */
  unmap_and_replace: 7,
  /** Chooses version 1 or 2 of the table. */
  set_version: 8,
  /** Reads the frames of version 2's status array. */
  get_status_frames: 9,
  /** Reads the table's version. */
  get_version: 10,
  /** Swaps two entries. */
  swap_grant_ref: 11,
  /** Flushes caches over a granted page; Arm. */
  cache_flush: 12,
} as const;

/** Commands of `hvm_op` that a guest may use: `HVMOP_*` of `hvm/hvm_op.h`. */
export const HVMOP = {
  /** Sets a parameter. */
  set_param: 0,
  /** Reads a parameter. */
  get_param: 1,
  /** Flushes the TLBs of VCPUs. */
  flush_tlbs: 5,
  /** Tells that a page table is about to go. */
  pagetable_dying: 9,
  /** Reads Xen's system time. */
  get_time: 10,
  /** Writes a record to Xen's trace buffer. */
  xentrace: 11,
  /** Obsolete; see `XENMEM.access_op`. */
  set_mem_access: 12,
  /** Obsolete; see `XENMEM.access_op`. */
  get_mem_access: 13,
  /** Reads the type of a guest frame. */
  get_mem_type: 15,
  /** Sets the vector that events arrive with. */
  set_evtchn_upcall_vector: 23,
  /** Sends an event to a monitor. */
  guest_request_vm_event: 24,
  /** Alternate physical maps. */
  altp2m: 25,
} as const;

/** Commands of `xenpmu_op`: `XENPMU_*` of `pmu.h`. */
export const XENPMU = {
  /** Reads the mode. */
  mode_get: 0,
  /** Sets the mode. */
  mode_set: 1,
  /** Reads the features. */
  feature_get: 2,
  /** Sets the features. */
  feature_set: 3,
  /** Starts counting on a VCPU. */
  init: 4,
  /** Ends counting on a VCPU. */
  finish: 5,
  /** Writes the local APIC's counter entry. */
  lvtpc_set: 6,
  /** Publishes the counters. */
  flush: 7,
} as const;

/** Commands inside `mmuext_op` entries (not in a register): `MMUEXT_*` of `xen.h`. */
export const MMUEXT = {
  /** Validates and pins a level 1 table. */
  PIN_L1_TABLE: 0,
  /** Validates and pins a level 2 table. */
  PIN_L2_TABLE: 1,
  /** Validates and pins a level 3 table. */
  PIN_L3_TABLE: 2,
  /** Validates and pins a level 4 table. */
  PIN_L4_TABLE: 3,
  /** Unpins a table. */
  UNPIN_TABLE: 4,
  /** Loads CR3. */
  NEW_BASEPTR: 5,
  /** Flushes this VCPU's TLB. */
  TLB_FLUSH_LOCAL: 6,
  /** Flushes one page from this VCPU's TLB. */
  INVLPG_LOCAL: 7,
  /** Flushes the TLBs of some VCPUs. */
  TLB_FLUSH_MULTI: 8,
  /** Flushes one page from the TLBs of some VCPUs. */
  INVLPG_MULTI: 9,
  /** Flushes the TLBs of all VCPUs. */
  TLB_FLUSH_ALL: 10,
  /** Flushes one page from the TLBs of all VCPUs. */
  INVLPG_ALL: 11,
  /** Writes back and drops this processor's caches. */
  FLUSH_CACHE: 12,
  /** Loads the LDT. */
  SET_LDT: 13,
  /** Sets the page table of 64-bit user mode. */
  NEW_USER_BASEPTR: 15,
  /** Fills a page with zeros. */
  CLEAR_PAGE: 16,
  /** Copies a page. */
  COPY_PAGE: 17,
  /** Writes back and drops all processors' caches. */
  FLUSH_CACHE_GLOBAL: 18,
  /** Marks a 2 MiB page, removed. */
  MARK_SUPER: 19,
  /** Unmarks a 2 MiB page, removed. */
  UNMARK_SUPER: 20,
} as const;

/** Commands inside a `platform_op` structure (not in a register): `XENPF_*` of `platform.h`. */
export const XENPF = {
  /** Sets the wall clock, 32-bit seconds. */
  settime32: 17,
  /** Adds a memory type range. */
  add_memtype: 31,
  /** Removes a memory type range. */
  del_memtype: 32,
  /** Reads a memory type range. */
  read_memtype: 33,
  /** Loads microcode. */
  microcode_update: 35,
  /** Reports a quirk of the machine. */
  platform_quirk: 39,
  /** Reads a processor's family, model and stepping. */
  get_cpu_version: 48,
  /** Calls an EFI runtime service. */
  efi_runtime_call: 49,
  /** Reads what the firmware left. */
  firmware_info: 50,
  /** Enters an ACPI sleep state. */
  enter_acpi_sleep: 51,
  /** Reports a frequency change. */
  change_freq: 52,
  /** Reads processors' idle times. */
  getidletime: 53,
  /** Reports power states. */
  set_processor_pminfo: 54,
  /** Reads a processor's state. */
  get_cpuinfo: 55,
  /** Brings a processor online. */
  cpu_online: 56,
  /** Takes a processor offline. */
  cpu_offline: 57,
  /** Adds a processor. */
  cpu_hotadd: 58,
  /** Adds memory. */
  mem_hotadd: 59,
  /** Parks processors. */
  core_parking: 60,
  /** Reads or writes registers of processors. */
  resource_op: 61,
  /** Sets the wall clock. */
  settime64: 62,
  /** Reads a symbol of Xen. */
  get_symbol: 63,
} as const;

/** `memory_op`'s command occupies the register's bits below this one; those above count extents done (Xen's own, `xen/hypercall.h`). */
export const MEMOP_EXTENT_SHIFT = 6;
