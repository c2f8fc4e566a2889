// A table: Constants of grant_table.h.

/** Type (bits 0-1) and flags of a grant entry: `GTF_*` of `grant_table.h`. The two `transfer_*` flags share their bits with `readonly` and `reading`. */
export const GTF = {
  invalid: 0x0,
  permit_access: 0x1,
  accept_transfer: 0x2,
  transitive: 0x3,
  type_mask: 0x3,
  readonly: 0x4,
  transfer_committed: 0x4,
  reading: 0x8,
  transfer_completed: 0x8,
  writing: 0x10,
  PWT: 0x20,
  PCD: 0x40,
  PAT: 0x80,
  sub_page: 0x100,
} as const;

/** Flags of `gnttab_map_grant_ref`: `GNTMAP_*` of `grant_table.h`. */
export const GNTMAP = {
  device_map: 0x1,
  host_map: 0x2,
  readonly: 0x4,
  application_map: 0x8,
  contains_pte: 0x10,
  guest_avail_mask: 0xffff0000,
} as const;

/** Flags of `gnttab_copy`: `GNTCOPY_*` of `grant_table.h`. */
export const GNTCOPY = {
  source_gref: 1,
  dest_gref: 2,
} as const;

/** Status that grant operations write into their argument (not errno): `GNTST_*` of `grant_table.h`. */
export const GNTST = {
  okay: 0,
  general_error: -1,
  bad_domain: -2,
  bad_gntref: -3,
  bad_handle: -4,
  bad_virt_addr: -5,
  bad_dev_addr: -6,
  no_device_space: -7,
  permission_denied: -8,
  bad_page: -9,
  bad_copy_arg: -10,
  address_too_big: -11,
  eagain: -12,
  no_space: -13,
} as const;

/** Grant references that the domain builder fills in: `GNTTAB_RESERVED_*` of `grant_table.h`. */
export const GNTTAB_RESERVED = {
  CONSOLE: 0,
  XENSTORE: 1,
} as const;

/** Flags of `gnttab_cache_flush.op`: `GNTTAB_CACHE_*` of `grant_table.h`. */
export const GNTTAB_CACHE = {
  CLEAN: 0x1,
  INVAL: 0x2,
  SOURCE_GREF: 0x80000000,
} as const;

/** Grant references below this one are reserved for the domain builder (`grant_table.h`). */
export const GNTTAB_NR_RESERVED_ENTRIES = 8;
