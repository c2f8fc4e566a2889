// A table: Hypercall numbers and the commands that travel in a register; the names of both come from these tables.

/** Hypercall numbers, in rax (eax) at the call: `__HYPERVISOR_*` of `xen.h`. */
export const HYPERVISOR = {
  set_trap_table: 0,
  mmu_update: 1,
  set_gdt: 2,
  stack_switch: 3,
  set_callbacks: 4,
  fpu_taskswitch: 5,
  sched_op_compat: 6,
  platform_op: 7,
  set_debugreg: 8,
  get_debugreg: 9,
  update_descriptor: 10,
  memory_op: 12,
  multicall: 13,
  update_va_mapping: 14,
  set_timer_op: 15,
  event_channel_op_compat: 16,
  xen_version: 17,
  console_io: 18,
  physdev_op_compat: 19,
  grant_table_op: 20,
  vm_assist: 21,
  update_va_mapping_otherdomain: 22,
  iret: 23,
  vcpu_op: 24,
  set_segment_base: 25,
  mmuext_op: 26,
  xsm_op: 27,
  nmi_op: 28,
  sched_op: 29,
  callback_op: 30,
  xenoprof_op: 31,
  event_channel_op: 32,
  physdev_op: 33,
  hvm_op: 34,
  sysctl: 35,
  domctl: 36,
  kexec_op: 37,
  tmem_op: 38,
  argo_op: 39,
  xenpmu_op: 40,
  dm_op: 41,
  hypfs_op: 42,
  arch_0: 48,
  arch_1: 49,
  arch_2: 50,
  arch_3: 51,
  arch_4: 52,
  arch_5: 53,
  arch_6: 54,
  arch_7: 55,
} as const;

/** Commands of `console_io`: `CONSOLEIO_*` of `xen.h`. */
export const CONSOLEIO = {
  write: 0,
  read: 1,
} as const;

/** Commands of `vm_assist`: `VMASST_CMD_*` of `xen.h`. */
export const VMASST_CMD = {
  enable: 0,
  disable: 1,
} as const;

/** Commands of `sched_op`: `SCHEDOP_*` of `sched.h`. */
export const SCHEDOP = {
  yield: 0,
  block: 1,
  shutdown: 2,
  poll: 3,
  remote_shutdown: 4,
  shutdown_code: 5,
  watchdog: 6,
  pin_override: 7,
} as const;

/** Commands of `vcpu_op`: `VCPUOP_*` of `vcpu.h`. */
export const VCPUOP = {
  initialise: 0,
  up: 1,
  down: 2,
  is_up: 3,
  get_runstate_info: 4,
  register_runstate_memory_area: 5,
  set_periodic_timer: 6,
  stop_periodic_timer: 7,
  set_singleshot_timer: 8,
  stop_singleshot_timer: 9,
  register_vcpu_info: 10,
  send_nmi: 11,
  get_physid: 12,
  register_vcpu_time_memory_area: 13,
} as const;

/** Commands of `event_channel_op`: `EVTCHNOP_*` of `event_channel.h`. */
export const EVTCHNOP = {
  bind_interdomain: 0,
  bind_virq: 1,
  bind_pirq: 2,
  close: 3,
  send: 4,
  status: 5,
  alloc_unbound: 6,
  bind_ipi: 7,
  bind_vcpu: 8,
  unmask: 9,
  reset: 10,
  init_control: 11,
  expand_array: 12,
  set_priority: 13,
} as const;

/** Commands of `memory_op`: `XENMEM_*` of `memory.h`. The register's bits from {@link MEMOP_EXTENT_SHIFT} up carry a continuation, not the command. */
export const XENMEM = {
  increase_reservation: 0,
  decrease_reservation: 1,
  maximum_ram_page: 2,
  current_reservation: 3,
  maximum_reservation: 4,
  machphys_mfn_list: 5,
  populate_physmap: 6,
  add_to_physmap: 7,
  memory_map: 9,
  machine_memory_map: 10,
  exchange: 11,
  machphys_mapping: 12,
  set_memory_map: 13,
  maximum_gpfn: 14,
  remove_from_physmap: 15,
  set_pod_target: 16,
  get_pod_target: 17,
  get_sharing_freed_pages: 18,
  get_sharing_shared_pages: 19,
  paging_op: 20,
  access_op: 21,
  sharing_op: 22,
  add_to_physmap_batch: 23,
  claim_pages: 24,
  machphys_compat_mfn_list: 25,
  get_vnumainfo: 26,
  reserved_device_memory_map: 27,
  acquire_resource: 28,
} as const;

/** Commands of `xen_version`: `XENVER_*` of `version.h`. */
export const XENVER = {
  version: 0,
  extraversion: 1,
  compile_info: 2,
  capabilities: 3,
  changeset: 4,
  platform_parameters: 5,
  get_features: 6,
  pagesize: 7,
  guest_handle: 8,
  commandline: 9,
  build_id: 10,
} as const;

/** Commands of `callback_op`: `CALLBACKOP_*` of `callback.h`. */
export const CALLBACKOP = {
  register: 0,
  unregister: 1,
} as const;

/** Commands of `nmi_op`: `XENNMI_*` of `nmi.h`. */
export const XENNMI = {
  register_callback: 0,
  unregister_callback: 1,
} as const;

/** Commands of `physdev_op`: `PHYSDEVOP_*` of `physdev.h`. */
export const PHYSDEVOP = {
  IRQ_UNMASK_NOTIFY: 4,
  irq_status_query: 5,
  set_iopl: 6,
  set_iobitmap: 7,
  apic_read: 8,
  apic_write: 9,
  alloc_irq_vector: 10,
  free_irq_vector: 11,
  eoi: 12,
  map_pirq: 13,
  unmap_pirq: 14,
  manage_pci_add: 15,
  manage_pci_remove: 16,
  pirq_eoi_gmfn_v1: 17,
  restore_msi: 19,
  manage_pci_add_ext: 20,
  setup_gsi: 21,
  get_free_pirq: 23,
  pci_mmcfg_reserved: 24,
  pci_device_add: 25,
  pci_device_remove: 26,
  restore_msi_ext: 27,
  pirq_eoi_gmfn_v2: 28,
  dbgp_op: 29,
  prepare_msix: 30,
  release_msix: 31,
} as const;

/** Commands of `grant_table_op`: `GNTTABOP_*` of `grant_table.h`. */
export const GNTTABOP = {
  map_grant_ref: 0,
  unmap_grant_ref: 1,
  setup_table: 2,
  dump_table: 3,
  transfer: 4,
  copy: 5,
  query_size: 6,
  unmap_and_replace: 7,
  set_version: 8,
  get_status_frames: 9,
  get_version: 10,
  swap_grant_ref: 11,
  cache_flush: 12,
} as const;

/** Commands of `hvm_op` that a guest may use: `HVMOP_*` of `hvm/hvm_op.h`. */
export const HVMOP = {
  set_param: 0,
  get_param: 1,
  flush_tlbs: 5,
  pagetable_dying: 9,
  get_time: 10,
  xentrace: 11,
  set_mem_access: 12,
  get_mem_access: 13,
  get_mem_type: 15,
  set_evtchn_upcall_vector: 23,
  guest_request_vm_event: 24,
  altp2m: 25,
} as const;

/** Commands of `xenpmu_op`: `XENPMU_*` of `pmu.h`. */
export const XENPMU = {
  mode_get: 0,
  mode_set: 1,
  feature_get: 2,
  feature_set: 3,
  init: 4,
  finish: 5,
  lvtpc_set: 6,
  flush: 7,
} as const;

/** Commands inside `mmuext_op` entries (not in a register): `MMUEXT_*` of `xen.h`. */
export const MMUEXT = {
  PIN_L1_TABLE: 0,
  PIN_L2_TABLE: 1,
  PIN_L3_TABLE: 2,
  PIN_L4_TABLE: 3,
  UNPIN_TABLE: 4,
  NEW_BASEPTR: 5,
  TLB_FLUSH_LOCAL: 6,
  INVLPG_LOCAL: 7,
  TLB_FLUSH_MULTI: 8,
  INVLPG_MULTI: 9,
  TLB_FLUSH_ALL: 10,
  INVLPG_ALL: 11,
  FLUSH_CACHE: 12,
  SET_LDT: 13,
  NEW_USER_BASEPTR: 15,
  CLEAR_PAGE: 16,
  COPY_PAGE: 17,
  FLUSH_CACHE_GLOBAL: 18,
  MARK_SUPER: 19,
  UNMARK_SUPER: 20,
} as const;

/** Commands inside a `platform_op` structure (not in a register): `XENPF_*` of `platform.h`. */
export const XENPF = {
  settime32: 17,
  add_memtype: 31,
  del_memtype: 32,
  read_memtype: 33,
  microcode_update: 35,
  platform_quirk: 39,
  get_cpu_version: 48,
  efi_runtime_call: 49,
  firmware_info: 50,
  enter_acpi_sleep: 51,
  change_freq: 52,
  getidletime: 53,
  set_processor_pminfo: 54,
  get_cpuinfo: 55,
  cpu_online: 56,
  cpu_offline: 57,
  cpu_hotadd: 58,
  mem_hotadd: 59,
  core_parking: 60,
  resource_op: 61,
  settime64: 62,
  get_symbol: 63,
} as const;

/** `memory_op`'s command occupies the register's bits below this one; those above count extents done (Xen's own, `xen/hypercall.h`). */
export const MEMOP_EXTENT_SHIFT = 6;
