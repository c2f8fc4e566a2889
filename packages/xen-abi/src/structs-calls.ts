// A table: arguments of hypercalls, longer than other files on purpose.

/** Structures of `sched.h`, `vcpu.h`, `version.h`, `callback.h`, `nmi.h` and `pmu.h`, under their C tags. */
export const callStructs = {
  sched_shutdown: { struct: { reason: "u32" } },
  sched_poll: { struct: { ports: "pointer", nr_ports: "u32", timeout: "u64" } },
  sched_remote_shutdown: { struct: { domain_id: "u16", reason: "u32" } },
  sched_watchdog: { struct: { id: "u32", timeout: "u32" } },
  sched_pin_override: { struct: { pcpu: "s32" } },

  vcpu_runstate_info: { struct: { state: "s32", state_entry_time: "u64", time: ["u64", 4] } },
  vcpu_register_runstate_memory_area: {
    struct: { addr: { union: { h: "pointer", v: "pointer", p: "u64" } } },
  },
  vcpu_set_periodic_timer: { struct: { period_ns: "u64" } },
  vcpu_set_singleshot_timer: { struct: { timeout_abs_ns: "u64", flags: "u32" } },
  vcpu_register_vcpu_info: { struct: { mfn: "frame64", offset: "u32", rsvd: "u32" } },
  vcpu_get_physid: { struct: { phys_id: "u64" } },
  vcpu_register_time_memory_area: {
    struct: { addr: { union: { h: "pointer", v: "pointer", p: "u64" } } },
  },

  xen_compile_info: {
    struct: {
      compiler: ["char", 64],
      compile_by: ["char", 16],
      compile_domain: ["char", 32],
      compile_date: ["char", 32],
    },
  },
  xen_platform_parameters: { struct: { virt_start: "ulong" } },
  xen_feature_info: { struct: { submap_idx: "u32", submap: "u32" } },
  xen_build_id: { struct: { len: "u32", buf: ["u8", 0] } },

  callback_register: {
    struct: { type: "u16", flags: "u16", address: { x86_64: "ulong", x86_32: "xen_callback" } },
  },
  callback_unregister: { struct: { type: "u16", _unused: "u16" } },
  xennmi_callback: { struct: { handler_address: "ulong", pad: "ulong" } },

  xen_pmu_params: {
    struct: {
      version: { struct: { maj: "u32", min: "u32" } },
      val: "u64",
      vcpu: "u32",
      pad: "u32",
    },
  },
  xen_pmu_cntr_pair: { struct: { counter: "u64", control: "u64" } },
  xen_pmu_amd_ctxt: { struct: { counters: "u32", ctrls: "u32", regs: ["u64", 0] } },
  xen_pmu_intel_ctxt: {
    struct: {
      fixed_counters: "u32",
      arch_counters: "u32",
      global_ctrl: "u64",
      global_ovf_ctrl: "u64",
      global_status: "u64",
      fixed_ctrl: "u64",
      ds_area: "u64",
      pebs_enable: "u64",
      debugctl: "u64",
      regs: ["u64", 0],
    },
  },
  xen_pmu_regs: {
    struct: { ip: "u64", sp: "u64", flags: "u64", cs: "u16", ss: "u16", cpl: "u8", pad: ["u8", 3] },
  },
  xen_pmu_arch: {
    struct: {
      r: { union: { regs: "xen_pmu_regs", pad: ["u8", 64] } },
      pmu_flags: "u64",
      l: { union: { lapic_lvtpc: "u32", pad: "u64" } },
      c: { union: { amd: "xen_pmu_amd_ctxt", intel: "xen_pmu_intel_ctxt", pad: ["u8", 128] } },
    },
  },
  xen_pmu_data: {
    struct: { vcpu_id: "u32", pcpu_id: "u32", domain_id: "u16", pad: ["u8", 6], pmu: "xen_pmu_arch" },
  },
} as const;

/** Structures of `event_channel.h`, under their C tags. */
export const eventStructs = {
  evtchn_alloc_unbound: { struct: { dom: "u16", remote_dom: "u16", port: "u32" } },
  evtchn_bind_interdomain: { struct: { remote_dom: "u16", remote_port: "u32", local_port: "u32" } },
  evtchn_bind_virq: { struct: { virq: "u32", vcpu: "u32", port: "u32" } },
  evtchn_bind_pirq: { struct: { pirq: "u32", flags: "u32", port: "u32" } },
  evtchn_bind_ipi: { struct: { vcpu: "u32", port: "u32" } },
  evtchn_close: { struct: { port: "u32" } },
  evtchn_send: { struct: { port: "u32" } },
  evtchn_status: {
    struct: {
      dom: "u16",
      port: "u32",
      status: "u32",
      vcpu: "u32",
      u: {
        union: {
          unbound: { struct: { dom: "u16" } },
          interdomain: { struct: { dom: "u16", port: "u32" } },
          pirq: "u32",
          virq: "u32",
        },
      },
    },
  },
  evtchn_bind_vcpu: { struct: { port: "u32", vcpu: "u32" } },
  evtchn_unmask: { struct: { port: "u32" } },
  evtchn_reset: { struct: { dom: "u16" } },
  evtchn_init_control: {
    struct: { control_gfn: "frame64", offset: "u32", vcpu: "u32", link_bits: "u8", _pad: ["u8", 7] },
  },
  evtchn_expand_array: { struct: { array_gfn: "frame64" } },
  evtchn_set_priority: { struct: { port: "u32", priority: "u32" } },
  evtchn_op: {
    struct: {
      cmd: "u32",
      u: {
        union: {
          alloc_unbound: "evtchn_alloc_unbound",
          bind_interdomain: "evtchn_bind_interdomain",
          bind_virq: "evtchn_bind_virq",
          bind_pirq: "evtchn_bind_pirq",
          bind_ipi: "evtchn_bind_ipi",
          close: "evtchn_close",
          send: "evtchn_send",
          status: "evtchn_status",
          bind_vcpu: "evtchn_bind_vcpu",
          unmask: "evtchn_unmask",
        },
      },
    },
  },
  evtchn_fifo_control_block: { struct: { ready: "u32", _rsvd: "u32", head: ["u32", 16] } },
} as const;

/** Structures of `physdev.h`, under their C tags. */
export const physdevStructs = {
  physdev_eoi: { struct: { irq: "u32" } },
  physdev_pirq_eoi_gmfn: { struct: { gmfn: "frame" } },
  physdev_irq_status_query: { struct: { irq: "u32", flags: "u32" } },
  physdev_set_iopl: { struct: { iopl: "u32" } },
  physdev_set_iobitmap: { struct: { bitmap: "pointer", nr_ports: "u32" } },
  physdev_apic: { struct: { apic_physbase: "ulong", reg: "u32", value: "u32" } },
  physdev_irq: { struct: { irq: "u32", vector: "u32" } },
  physdev_map_pirq: {
    struct: {
      domid: "u16",
      type: "s32",
      index: "s32",
      pirq: "s32",
      bus: "s32",
      devfn: "s32",
      entry_nr: "s32",
      table_base: "u64",
    },
  },
  physdev_unmap_pirq: { struct: { domid: "u16", pirq: "s32" } },
  physdev_manage_pci: { struct: { bus: "u8", devfn: "u8" } },
  physdev_restore_msi: { struct: { bus: "u8", devfn: "u8" } },
  physdev_manage_pci_ext: {
    struct: {
      bus: "u8",
      devfn: "u8",
      is_extfn: "u32",
      is_virtfn: "u32",
      physfn: { struct: { bus: "u8", devfn: "u8" } },
    },
  },
  physdev_op: {
    struct: {
      cmd: "u32",
      u: {
        union: {
          irq_status_query: "physdev_irq_status_query",
          set_iopl: "physdev_set_iopl",
          set_iobitmap: "physdev_set_iobitmap",
          apic_op: "physdev_apic",
          irq_op: "physdev_irq",
        },
      },
    },
  },
  physdev_setup_gsi: { struct: { gsi: "s32", triggering: "u8", polarity: "u8" } },
  physdev_get_free_pirq: { struct: { type: "s32", pirq: "u32" } },
  physdev_pci_mmcfg_reserved: {
    struct: { address: "u64", segment: "u16", start_bus: "u8", end_bus: "u8", flags: "u32" },
  },
  physdev_pci_device_add: {
    struct: {
      seg: "u16",
      bus: "u8",
      devfn: "u8",
      flags: "u32",
      physfn: { struct: { bus: "u8", devfn: "u8" } },
      optarr: ["u32", 0],
    },
  },
  physdev_pci_device: { struct: { seg: "u16", bus: "u8", devfn: "u8" } },
  physdev_dbgp_op: { struct: { op: "u8", bus: "u8", u: { union: { pci: "physdev_pci_device" } } } },
} as const;
