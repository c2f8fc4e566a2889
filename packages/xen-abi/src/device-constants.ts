// A table: Constants of io/blkif.h and io/netif.h.

/** Operations of a block request: `BLKIF_OP_*` of `io/blkif.h`. */
export const BLKIF_OP = {
  READ: 0,
  WRITE: 1,
  WRITE_BARRIER: 2,
  FLUSH_DISKCACHE: 3,
  RESERVED_1: 4,
  DISCARD: 5,
  INDIRECT: 6,
} as const;

/** Status of a block response: `BLKIF_RSP_*` of `io/blkif.h`. */
export const BLKIF_RSP = {
  EOPNOTSUPP: -2,
  ERROR: -1,
  OKAY: 0,
} as const;

/** Bits of the block backend's `info` node: `VDISK_*` of `io/blkif.h`. */
export const VDISK = {
  CDROM: 1,
  REMOVABLE: 2,
  READONLY: 4,
} as const;

/** Flags of `netif_tx_request`: `NETTXF_*` of `io/netif.h`. */
export const NETTXF = {
  csum_blank: 0x1,
  data_validated: 0x2,
  more_data: 0x4,
  extra_info: 0x8,
} as const;

/** Flags of `netif_rx_response`: `NETRXF_*` of `io/netif.h`. */
export const NETRXF = {
  data_validated: 0x1,
  csum_blank: 0x2,
  more_data: 0x4,
  extra_info: 0x8,
  gso_prefix: 0x10,
} as const;

/** Status of network responses: `NETIF_RSP_*` of `io/netif.h`. A received packet's status is its length instead. */
export const NETIF_RSP = {
  DROPPED: -2,
  ERROR: -1,
  OKAY: 0,
  NULL: 1,
} as const;

/** Values of `netif_extra_info.type`: `XEN_NETIF_EXTRA_TYPE_*` of `io/netif.h`. */
export const NETIF_EXTRA_TYPE = {
  NONE: 0,
  GSO: 1,
  MCAST_ADD: 2,
  MCAST_DEL: 3,
  HASH: 4,
} as const;

/** Values of `netif_extra_info.u.gso.type`: `XEN_NETIF_GSO_TYPE_*` of `io/netif.h`. */
export const NETIF_GSO_TYPE = {
  NONE: 0,
  TCPV4: 1,
  TCPV6: 2,
} as const;

/** Requests of the control ring: `XEN_NETIF_CTRL_TYPE_*` of `io/netif.h`. */
export const NETIF_CTRL_TYPE = {
  INVALID: 0,
  GET_HASH_FLAGS: 1,
  SET_HASH_FLAGS: 2,
  SET_HASH_KEY: 3,
  GET_HASH_MAPPING_SIZE: 4,
  SET_HASH_MAPPING_SIZE: 5,
  SET_HASH_MAPPING: 6,
  SET_HASH_ALGORITHM: 7,
  GET_GREF_MAPPING_SIZE: 8,
  ADD_GREF_MAPPING: 9,
  DEL_GREF_MAPPING: 10,
} as const;

/** Status of control responses: `XEN_NETIF_CTRL_STATUS_*` of `io/netif.h`. */
export const NETIF_CTRL_STATUS = {
  SUCCESS: 0,
  NOT_SUPPORTED: 1,
  INVALID_PARAMETER: 2,
  BUFFER_OVERFLOW: 3,
} as const;

/** Bits that say what a hash covers: `XEN_NETIF_CTRL_HASH_TYPE_*` of `io/netif.h`. */
export const NETIF_CTRL_HASH_TYPE = {
  IPV4: 1,
  IPV4_TCP: 2,
  IPV6: 4,
  IPV6_TCP: 8,
} as const;

/** Hash algorithms: `XEN_NETIF_CTRL_HASH_ALGORITHM_*` of `io/netif.h`. */
export const NETIF_CTRL_HASH_ALGORITHM = {
  NONE: 0,
  TOEPLITZ: 1,
} as const;

/** Most segments of a direct block request (`io/blkif.h`). */
export const BLKIF_MAX_SEGMENTS_PER_REQUEST = 11;
/** Most pages of segments of an indirect block request (`io/blkif.h`). */
export const BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST = 8;
/** Flag of `blkif_request_discard`: what is discarded must not be readable again (`io/blkif.h`). */
export const BLKIF_DISCARD_SECURE = 1;
/** Slots that a network backend must accept for one packet (`io/netif.h`). */
export const XEN_NETIF_NR_SLOTS_MIN = 18;
/** Longest packet that a guest may send, in bytes (`io/netif.h`). */
export const XEN_NETIF_MAX_TX_SIZE = 0xffff;
/** Flag of `netif_extra_info.flags`: another extra slot follows (`io/netif.h`). */
export const XEN_NETIF_EXTRA_FLAG_MORE = 1;
/** Flag of `xen_netif_gref.flags`: map read-only (`io/netif.h`). */
export const XEN_NETIF_CTRLF_GREF_readonly = 1;
/** Value of a block device's `protocol` node for the x86-64 layout (`io/protocols.h`). */
export const XEN_IO_PROTO_ABI_X86_64 = "x86_64-abi";
/** Value of a block device's `protocol` node for the 32-bit layout (`io/protocols.h`). */
export const XEN_IO_PROTO_ABI_X86_32 = "x86_32-abi";
