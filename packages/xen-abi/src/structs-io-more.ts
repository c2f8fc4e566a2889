// A table: pages and messages of devices beside console, store, disk and network.

/** Structures of `io/fbif.h`, `io/kbdif.h`, `io/pciif.h` and `io/9pfs.h`, under their C tags. */
export const moreIoStructs = {
  xenfb_update: { struct: { type: "u8", x: "s32", y: "s32", width: "s32", height: "s32" } },
  xenfb_resize: {
    struct: { type: "u8", width: "s32", height: "s32", stride: "s32", depth: "s32", offset: "s32" },
  },
  xenfb_out_event: { union: { type: "u8", update: "xenfb_update", resize: "xenfb_resize", pad: ["u8", 40] } },
  xenfb_refresh_period: { struct: { type: "u8", period: "u32" } },
  xenfb_in_event: { union: { type: "u8", refresh_period: "xenfb_refresh_period", pad: ["u8", 40] } },
  xenfb_page: {
    struct: {
      in_cons: "u32",
      in_prod: "u32",
      out_cons: "u32",
      out_prod: "u32",
      width: "s32",
      height: "s32",
      line_length: "u32",
      mem_length: "u32",
      depth: "u8",
      pd: ["ulong", 256],
    },
  },

  xenkbd_motion: { struct: { type: "u8", rel_x: "s32", rel_y: "s32", rel_z: "s32" } },
  xenkbd_key: { struct: { type: "u8", pressed: "u8", keycode: "u32" } },
  xenkbd_position: { struct: { type: "u8", abs_x: "s32", abs_y: "s32", rel_z: "s32" } },
  xenkbd_mtouch: {
    struct: {
      type: "u8",
      event_type: "u8",
      contact_id: "u8",
      reserved: ["u8", 5],
      u: {
        union: {
          pos: { struct: { abs_x: "s32", abs_y: "s32" } },
          shape: { struct: { major: "u32", minor: "u32" } },
          orientation: "s16",
        },
      },
    },
  },
  xenkbd_in_event: {
    union: {
      type: "u8",
      motion: "xenkbd_motion",
      key: "xenkbd_key",
      pos: "xenkbd_position",
      mtouch: "xenkbd_mtouch",
      pad: ["u8", 40],
    },
  },
  xenkbd_out_event: { union: { type: "u8", pad: ["u8", 40] } },
  xenkbd_page: { struct: { in_cons: "u32", in_prod: "u32", out_cons: "u32", out_prod: "u32" } },

  xen_msix_entry: { struct: { vector: "u16", entry: "u16" } },
  xen_pci_op: {
    struct: {
      cmd: "u32",
      err: "s32",
      domain: "u32",
      bus: "u32",
      devfn: "u32",
      offset: "s32",
      size: "s32",
      value: "u32",
      info: "u32",
      msix_entries: ["xen_msix_entry", 128],
    },
  },
  xen_pcie_aer_op: { struct: { cmd: "u32", err: "s32", domain: "u32", bus: "u32", devfn: "u32" } },
  xen_pci_sharedinfo: { struct: { flags: "u32", op: "xen_pci_op", aer_op: "xen_pcie_aer_op" } },

  xen_9pfs_data_intf: {
    struct: {
      in_cons: "u32",
      in_prod: "u32",
      pad1: ["u8", 56],
      out_cons: "u32",
      out_prod: "u32",
      pad2: ["u8", 56],
      ring_order: "u32",
      ref: ["u32", 0],
    },
  },
} as const;
