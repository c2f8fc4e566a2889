// A table: Constants of io/blkif.h and io/netif.h.

/** Operations of a block request: `BLKIF_OP_*` of `io/blkif.h`. */
export const BLKIF_OP = {
  /** Reads. */
  READ: 0,
  /** Writes. */
  WRITE: 1,
  /** Writes, after all before and ahead of all after. */
  WRITE_BARRIER: 2,
  /** Makes earlier writes durable. */
  FLUSH_DISKCACHE: 3,
  /** Not to be used. */
  RESERVED_1: 4,
  /** Forgets sectors. */
  DISCARD: 5,
  /** Reads or writes with segments in pages of their own. */
  INDIRECT: 6,
} as const;

/** Status of a block response: `BLKIF_RSP_*` of `io/blkif.h`. */
export const BLKIF_RSP = {
  /** The operation is not supported. */
  EOPNOTSUPP: -2,
  /** The operation failed. */
  ERROR: -1,
  /** Done. */
  OKAY: 0,
} as const;

/** Bits of the block backend's `info` node: `VDISK_*` of `io/blkif.h`. */
export const VDISK = {
  /** A CD-ROM. */
  CDROM: 1,
  /** The medium is removable. */
  REMOVABLE: 2,
  /** Read-only. */
  READONLY: 4,
} as const;

/** Flags of `netif_tx_request`: `NETTXF_*` of `io/netif.h`. */
export const NETTXF = {
  /** The checksum is still to be computed. */
  csum_blank: 0x1,
  /** The data are known to be right. */
  data_validated: 0x2,
  /** The packet goes on in the next request. */
  more_data: 0x4,
  /** An extra slot follows. */
  extra_info: 0x8,
} as const;

/** Flags of `netif_rx_response`: `NETRXF_*` of `io/netif.h`. */
export const NETRXF = {
  /** The data are known to be right. */
  data_validated: 0x1,
  /** The checksum is still to be computed. */
  csum_blank: 0x2,
  /** The packet goes on in the next response. */
  more_data: 0x4,
  /** An extra slot follows. */
  extra_info: 0x8,
  /** The slot is only a GSO prefix. */
  gso_prefix: 0x10,
} as const;

/** Status of network responses: `NETIF_RSP_*` of `io/netif.h`. A received packet's status is its length instead. */
export const NETIF_RSP = {
  /** Dropped. */
  DROPPED: -2,
  /** Failed. */
  ERROR: -1,
  /** Done. */
  OKAY: 0,
  /** No response belongs to this slot. */
  NULL: 1,
} as const;

/** Values of `netif_extra_info.type`: `XEN_NETIF_EXTRA_TYPE_*` of `io/netif.h`. */
export const NETIF_EXTRA_TYPE = {
  /** Unused. */
  NONE: 0,
  /** Segmentation offload. */
  GSO: 1,
  /** Joins a multicast group. */
  MCAST_ADD: 2,
  /** Leaves a multicast group. */
  MCAST_DEL: 3,
  /** The packet's hash. */
  HASH: 4,
} as const;

/** Values of `netif_extra_info.u.gso.type`: `XEN_NETIF_GSO_TYPE_*` of `io/netif.h`. */
export const NETIF_GSO_TYPE = {
  /** None. */
  NONE: 0,
  /** TCP over IPv4. */
  TCPV4: 1,
  /** TCP over IPv6. */
  TCPV6: 2,
} as const;

/** Requests of the control ring: `XEN_NETIF_CTRL_TYPE_*` of `io/netif.h`. */
export const NETIF_CTRL_TYPE = {
  /** Unused. */
  INVALID: 0,
  /** Reads what hashes can cover. */
  GET_HASH_FLAGS: 1,
  /** Chooses what hashes cover. */
  SET_HASH_FLAGS: 2,
  /** Sets the hash key. */
  SET_HASH_KEY: 3,
  /** Reads the mapping's greatest size. */
  GET_HASH_MAPPING_SIZE: 4,
  /** Sets the mapping's size. */
  SET_HASH_MAPPING_SIZE: 5,
  /** Sets the mapping from hashes to queues. */
  SET_HASH_MAPPING: 6,
  /** Chooses the algorithm. */
  SET_HASH_ALGORITHM: 7,
  /** Reads how many grants may stay mapped. */
  GET_GREF_MAPPING_SIZE: 8,
  /** Maps grants for good. */
  ADD_GREF_MAPPING: 9,
  /** Unmaps such grants. */
  DEL_GREF_MAPPING: 10,
} as const;

/** Status of control responses: `XEN_NETIF_CTRL_STATUS_*` of `io/netif.h`. */
export const NETIF_CTRL_STATUS = {
  /** Done. */
  SUCCESS: 0,
  /** Not supported. */
  NOT_SUPPORTED: 1,
  /** A parameter is invalid. */
  INVALID_PARAMETER: 2,
  /** Too long. */
  BUFFER_OVERFLOW: 3,
} as const;

/** Bits that say what a hash covers: `XEN_NETIF_CTRL_HASH_TYPE_*` of `io/netif.h`. */
export const NETIF_CTRL_HASH_TYPE = {
  /** IPv4 addresses. */
  IPV4: 1,
  /** IPv4 addresses and TCP ports. */
  IPV4_TCP: 2,
  /** IPv6 addresses. */
  IPV6: 4,
  /** IPv6 addresses and TCP ports. */
  IPV6_TCP: 8,
} as const;

/** Hash algorithms: `XEN_NETIF_CTRL_HASH_ALGORITHM_*` of `io/netif.h`. */
export const NETIF_CTRL_HASH_ALGORITHM = {
  /** None. */
  NONE: 0,
  /** Toeplitz. */
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
