// A table: Constants of grant_table.h.

/** Type (bits 0-1) and flags of a grant entry: `GTF_*` of `grant_table.h`. The two `transfer_*` flags share their bits with `readonly` and `reading`. */
export const GTF = {
  /** The entry is free. */
  invalid: 0x0,
  /** Grants access to a frame. */
  permit_access: 0x1,
  /** Accepts a frame from the other domain. */
  accept_transfer: 0x2,
  /** Passes on another domain's grant. */
  transitive: 0x3,
  /** The bits that hold the type. */
  type_mask: 0x3,
  /** Read-only. */
  readonly: 0x4,
  /** A transfer has begun. */
  transfer_committed: 0x4,
  /** Set by Xen while the page is in use for reading. */
  reading: 0x8,
  /** A transfer is done. */
  transfer_completed: 0x8,
  /** Set by Xen while the page is in use for writing. */
  writing: 0x10,
  /** Maps write-through. */
  PWT: 0x20,
  /** Maps uncached. */
  PCD: 0x40,
  /** The page-attribute bit. */
  PAT: 0x80,
  /** Grants only a part of the page; version 2. */
  sub_page: 0x100,
} as const;

/** Flags of `gnttab_map_grant_ref`: `GNTMAP_*` of `grant_table.h`. */
export const GNTMAP = {
  /** Maps for devices. */
  device_map: 0x1,
  /** Maps for the processor. */
  host_map: 0x2,
  /** Read-only. */
  readonly: 0x4,
  /** Maps for user mode. */
  application_map: 0x8,
  /** `host_addr` is the machine address of the entry to write. */
  contains_pte: 0x10,
  /** Bits for the available bits of the entry. */
  guest_avail_mask: 0xffff0000,
} as const;

/** Flags of `gnttab_copy`: `GNTCOPY_*` of `grant_table.h`. */
export const GNTCOPY = {
  /** The source is a grant reference. */
  source_gref: 1,
  /** The destination is a grant reference. */
  dest_gref: 2,
} as const;

/** Status that grant operations write into their argument (not errno): `GNTST_*` of `grant_table.h`. */
export const GNTST = {
  /** Done. */
  okay: 0,
  /** Failed otherwise. */
  general_error: -1,
  /** No such domain. */
  bad_domain: -2,
  /** No such grant. */
  bad_gntref: -3,
  /** No such mapping. */
  bad_handle: -4,
  /** Bad virtual address. */
  bad_virt_addr: -5,
  /** Bad device address. */
  bad_dev_addr: -6,
  /** No room in the IOMMU. */
  no_device_space: -7,
  /** Not permitted. */
  permission_denied: -8,
  /** Not a page of the domain. */
  bad_page: -9,
  /** The copy crosses a page's end. */
  bad_copy_arg: -10,
  /** The frame is too high for the other domain. */
  address_too_big: -11,
  /** Try again. */
  eagain: -12,
  /** Out of room. */
  no_space: -13,
} as const;

/** Grant references that the domain builder fills in: `GNTTAB_RESERVED_*` of `grant_table.h`. */
export const GNTTAB_RESERVED = {
  /** The console page. */
  CONSOLE: 0,
  /** The xenstore page. */
  XENSTORE: 1,
} as const;

/** Flags of `gnttab_cache_flush.op`: `GNTTAB_CACHE_*` of `grant_table.h`. */
export const GNTTAB_CACHE = {
  /** Writes back. */
  CLEAN: 0x1,
  /** Drops. */
  INVAL: 0x2,
  /** The page is named by a grant reference. */
  SOURCE_GREF: 0x80000000,
} as const;

/** Grant references below this one are reserved for the domain builder (`grant_table.h`). */
export const GNTTAB_NR_RESERVED_ENTRIES = 8;
