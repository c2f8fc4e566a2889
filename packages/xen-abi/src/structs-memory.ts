// A table: structures of memory.h and grant_table.h, longer than other files on purpose.

/** Structures of `memory.h`, under their C tags; `e820entry` (from `xenctrl.h`) is what `XENMEM.memory_map` fills in. */
export const memoryStructs = {
  xen_memory_reservation: {
    struct: { extent_start: "pointer", nr_extents: "ulong", extent_order: "u32", mem_flags: "u32", domid: "u16" },
  },
  xen_memory_exchange: {
    struct: { in: "xen_memory_reservation", out: "xen_memory_reservation", nr_exchanged: "ulong" },
  },
  xen_memory_domain: { struct: { domid: "u16" } },
  xen_machphys_mfn_list: { struct: { max_extents: "u32", extent_start: "pointer", nr_extents: "u32" } },
  xen_machphys_mapping: { struct: { v_start: "ulong", v_end: "ulong", max_mfn: "frame" } },
  xen_add_to_physmap: { struct: { domid: "u16", size: "u16", space: "u32", idx: "ulong", gpfn: "frame" } },
  xen_add_to_physmap_batch: {
    struct: {
      domid: "u16",
      space: "u16",
      size: "u16",
      u: { union: { foreign_domid: "u16", res0: "u16" } },
      idxs: "pointer",
      gpfns: "pointer",
      errs: "pointer",
    },
  },
  xen_remove_from_physmap: { struct: { domid: "u16", gpfn: "frame" } },
  xen_memory_map: { struct: { nr_entries: "u32", buffer: "pointer" } },
  e820entry: { struct: { addr: "u64", size: "u64", type: "u32" }, packed: true },
  xen_foreign_memory_map: { struct: { domid: "u16", map: "xen_memory_map" } },
  xen_pod_target: {
    struct: { target_pages: "u64", tot_pages: "u64", pod_cache_pages: "u64", pod_entries: "u64", domid: "u16" },
  },
  xen_mem_acquire_resource: {
    struct: {
      domid: "u16",
      type: "u16",
      id: "u32",
      nr_frames: "u32",
      pad: "u32",
      frame: "u64",
      frame_list: "pointer",
    },
  },
  xen_vmemrange: { struct: { start: "u64", end: "u64", flags: "u32", nid: "u32" } },
  xen_vnuma_topology_info: {
    struct: {
      domid: "u16",
      pad: "u16",
      nr_vnodes: "u32",
      nr_vcpus: "u32",
      nr_vmemranges: "u32",
      vdistance: { union: { h: "pointer", pad: "u64" } },
      vcpu_to_vnode: { union: { h: "pointer", pad: "u64" } },
      vmemrange: { union: { h: "pointer", pad: "u64" } },
    },
  },
} as const;

/** Structures of `grant_table.h`, under their C tags. */
export const grantStructs = {
  grant_entry_v1: { struct: { flags: "u16", domid: "u16", frame: "u32" } },
  grant_entry_header: { struct: { flags: "u16", domid: "u16" } },
  grant_entry_v2: {
    union: {
      hdr: "grant_entry_header",
      full_page: { struct: { hdr: "grant_entry_header", pad0: "u32", frame: "frame64" } },
      sub_page: { struct: { hdr: "grant_entry_header", page_off: "u16", length: "u16", frame: "frame64" } },
      transitive: { struct: { hdr: "grant_entry_header", trans_domid: "u16", pad0: "u16", gref: "u32" } },
      __spacer: ["u32", 4],
    },
  },
  gnttab_map_grant_ref: {
    struct: {
      host_addr: "u64",
      flags: "u32",
      ref: "u32",
      dom: "u16",
      status: "s16",
      handle: "u32",
      dev_bus_addr: "u64",
    },
  },
  gnttab_unmap_grant_ref: { struct: { host_addr: "u64", dev_bus_addr: "u64", handle: "u32", status: "s16" } },
  gnttab_setup_table: { struct: { dom: "u16", nr_frames: "u32", status: "s16", frame_list: "pointer" } },
  gnttab_dump_table: { struct: { dom: "u16", status: "s16" } },
  gnttab_transfer: { struct: { mfn: "frame", domid: "u16", ref: "u32", status: "s16" } },
  gnttab_copy_ptr: { struct: { u: { union: { ref: "u32", gmfn: "frame" } }, domid: "u16", offset: "u16" } },
  gnttab_copy: {
    struct: { source: "gnttab_copy_ptr", dest: "gnttab_copy_ptr", len: "u16", flags: "u16", status: "s16" },
  },
  gnttab_query_size: { struct: { dom: "u16", nr_frames: "u32", max_nr_frames: "u32", status: "s16" } },
  gnttab_unmap_and_replace: { struct: { host_addr: "u64", new_addr: "u64", handle: "u32", status: "s16" } },
  gnttab_set_version: { struct: { version: "u32" } },
  gnttab_get_status_frames: { struct: { nr_frames: "u32", dom: "u16", status: "s16", frame_list: "pointer" } },
  gnttab_get_version: { struct: { dom: "u16", pad: "u16", version: "u32" } },
  gnttab_swap_grant_ref: { struct: { ref_a: "u32", ref_b: "u32", status: "s16" } },
  gnttab_cache_flush: {
    struct: { a: { union: { dev_bus_addr: "u64", ref: "u32" } }, offset: "u16", length: "u16", op: "u32" },
  },
} as const;
