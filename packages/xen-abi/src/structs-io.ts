// A table: rings and messages of devices, longer than other files on purpose.

/** Structures of `io/console.h`, `io/xs_wire.h`, `io/blkif.h` and `io/netif.h`, under their C tags. */
export const ioStructs = {
  xencons_interface: {
    struct: {
      in: ["u8", 1024],
      out: ["u8", 2048],
      in_cons: "u32",
      in_prod: "u32",
      out_cons: "u32",
      out_prod: "u32",
    },
  },
  xsd_sockmsg: { struct: { type: "u32", req_id: "u32", tx_id: "u32", len: "u32" } },
  xenstore_domain_interface: {
    struct: {
      req: ["u8", 1024],
      rsp: ["u8", 1024],
      req_cons: "u32",
      req_prod: "u32",
      rsp_cons: "u32",
      rsp_prod: "u32",
      server_features: "u32",
      connection: "u32",
      error: "u32",
    },
  },

  blkif_request_segment: { struct: { gref: "u32", first_sect: "u8", last_sect: "u8" } },
  blkif_request: {
    struct: {
      operation: "u8",
      nr_segments: "u8",
      handle: "u16",
      id: "u64",
      sector_number: "u64",
      seg: ["blkif_request_segment", 11],
    },
  },
  blkif_request_discard: {
    struct: { operation: "u8", flag: "u8", handle: "u16", id: "u64", sector_number: "u64", nr_sectors: "u64" },
  },
  blkif_request_indirect: {
    struct: {
      operation: "u8",
      indirect_op: "u8",
      nr_segments: "u16",
      id: "u64",
      sector_number: "u64",
      handle: "u16",
      indirect_grefs: ["u32", 8],
      pad: { x86_32: "u64" },
    },
  },
  blkif_response: { struct: { id: "u64", operation: "u8", status: "s16" } },
  blkif_sring_entry: { union: { req: "blkif_request", rsp: "blkif_response" } },
  blkif_sring: {
    struct: {
      req_prod: "u32",
      req_event: "u32",
      rsp_prod: "u32",
      rsp_event: "u32",
      pvt: { union: { pvt_pad: ["u8", 4] } },
      __pad: ["u8", 44],
      ring: ["blkif_sring_entry", 1],
    },
  },

  netif_tx_request: { struct: { gref: "u32", offset: "u16", flags: "u16", id: "u16", size: "u16" } },
  netif_extra_info: {
    struct: {
      type: "u8",
      flags: "u8",
      u: {
        union: {
          gso: { struct: { size: "u16", type: "u8", pad: "u8", features: "u16" } },
          mcast: { struct: { addr: ["u8", 6] } },
          hash: { struct: { type: "u8", algorithm: "u8", value: ["u8", 4] } },
          pad: ["u16", 3],
        },
      },
    },
  },
  netif_tx_response: { struct: { id: "u16", status: "s16" } },
  netif_rx_request: { struct: { id: "u16", pad: "u16", gref: "u32" } },
  netif_rx_response: { struct: { id: "u16", offset: "u16", flags: "u16", status: "s16" } },
  netif_tx_sring_entry: { union: { req: "netif_tx_request", rsp: "netif_tx_response" } },
  netif_tx_sring: {
    struct: {
      req_prod: "u32",
      req_event: "u32",
      rsp_prod: "u32",
      rsp_event: "u32",
      pvt: { union: { pvt_pad: ["u8", 4] } },
      __pad: ["u8", 44],
      ring: ["netif_tx_sring_entry", 1],
    },
  },
  netif_rx_sring_entry: { union: { req: "netif_rx_request", rsp: "netif_rx_response" } },
  netif_rx_sring: {
    struct: {
      req_prod: "u32",
      req_event: "u32",
      rsp_prod: "u32",
      rsp_event: "u32",
      pvt: { union: { pvt_pad: ["u8", 4] } },
      __pad: ["u8", 44],
      ring: ["netif_rx_sring_entry", 1],
    },
  },
  xen_netif_ctrl_request: { struct: { id: "u16", type: "u16", data: ["u32", 3] } },
  xen_netif_ctrl_response: { struct: { id: "u16", type: "u16", status: "u32", data: "u32" } },
  xen_netif_gref: { struct: { ref: "u32", flags: "u16", status: "u16" } },
  xen_netif_ctrl_sring_entry: { union: { req: "xen_netif_ctrl_request", rsp: "xen_netif_ctrl_response" } },
  xen_netif_ctrl_sring: {
    struct: {
      req_prod: "u32",
      req_event: "u32",
      rsp_prod: "u32",
      rsp_event: "u32",
      pvt: { union: { pvt_pad: ["u8", 4] } },
      __pad: ["u8", 44],
      ring: ["xen_netif_ctrl_sring_entry", 1],
    },
  },
} as const;

/** Structures of `arch-x86/hvm/start_info.h` and of `hvm_op`, `hvm/hvm_vcpu.h` for PVH guests, under their C tags. */
export const hvmStructs = {
  hvm_start_info: {
    struct: {
      magic: "u32",
      version: "u32",
      flags: "u32",
      nr_modules: "u32",
      modlist_paddr: "u64",
      cmdline_paddr: "u64",
      rsdp_paddr: "u64",
      memmap_paddr: "u64",
      memmap_entries: "u32",
      reserved: "u32",
    },
  },
  hvm_modlist_entry: { struct: { paddr: "u64", size: "u64", cmdline_paddr: "u64", reserved: "u64" } },
  hvm_memmap_table_entry: { struct: { addr: "u64", size: "u64", type: "u32", reserved: "u32" } },
  xen_hvm_param: { struct: { domid: "u16", pad: "u16", index: "u32", value: "u64" } },
  xen_hvm_evtchn_upcall_vector: { struct: { vcpu: "u32", vector: "u8" } },
} as const;
