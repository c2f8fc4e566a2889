// A table: Constants of io/xs_wire.h and io/xenbus.h.

/** Message types of the xenstore protocol: `XS_*` of `io/xs_wire.h`. */
export const XS = {
  CONTROL: 0,
  DIRECTORY: 1,
  READ: 2,
  GET_PERMS: 3,
  WATCH: 4,
  UNWATCH: 5,
  TRANSACTION_START: 6,
  TRANSACTION_END: 7,
  INTRODUCE: 8,
  RELEASE: 9,
  GET_DOMAIN_PATH: 10,
  WRITE: 11,
  MKDIR: 12,
  RM: 13,
  SET_PERMS: 14,
  WATCH_EVENT: 15,
  ERROR: 16,
  IS_DOMAIN_INTRODUCED: 17,
  RESUME: 18,
  SET_TARGET: 19,
  RESET_WATCHES: 21,
  DIRECTORY_PART: 22,
  INVALID: 65535,
} as const;

/** Bits of `xenstore_domain_interface.server_features`: `XENSTORE_SERVER_FEATURE_*` of `io/xs_wire.h`. */
export const XENSTORE_FEATURE = {
  RECONNECTION: 1,
  ERROR: 2,
} as const;

/** Values of `xenstore_domain_interface.connection`: `XENSTORE_CONNECTED` and `XENSTORE_RECONNECT` of `io/xs_wire.h`. */
export const XENSTORE_CONNECTION = {
  CONNECTED: 0,
  RECONNECT: 1,
} as const;

/** Values of `xenstore_domain_interface.error`: `XENSTORE_ERROR_*` of `io/xs_wire.h`. */
export const XENSTORE_ERROR = {
  NONE: 0,
  COMM: 1,
  RINGIDX: 2,
  PROTO: 3,
} as const;

/** Values of a device's `state` node: `XenbusState*` of `io/xenbus.h`. */
export const XENBUS_STATE = {
  Unknown: 0,
  Initialising: 1,
  InitWait: 2,
  Initialised: 3,
  Connected: 4,
  Closing: 5,
  Closed: 6,
  Reconfiguring: 7,
  Reconfigured: 8,
} as const;

/** Bytes of each of the two rings of `xenstore_domain_interface` (`io/xs_wire.h`). */
export const XENSTORE_RING_SIZE = 1024;
/** Longest body of a message, in bytes (`io/xs_wire.h`). */
export const XENSTORE_PAYLOAD_MAX = 4096;
/** Longest absolute path, in bytes (`io/xs_wire.h`). */
export const XENSTORE_ABS_PATH_MAX = 3072;
/** Longest path relative to a domain's own, in bytes (`io/xs_wire.h`). */
export const XENSTORE_REL_PATH_MAX = 2048;
