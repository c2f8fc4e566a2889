// A table: Constants of io/xs_wire.h and io/xenbus.h.

/** Message types of the xenstore protocol: `XS_*` of `io/xs_wire.h`. */
export const XS = {
  /** Asks the daemon itself something. */
  CONTROL: 0,
  /** Lists children. */
  DIRECTORY: 1,
  /** Reads a node. */
  READ: 2,
  /** Reads permissions. */
  GET_PERMS: 3,
  /** Sets a watch. */
  WATCH: 4,
  /** Removes a watch. */
  UNWATCH: 5,
  /** Starts a transaction. */
  TRANSACTION_START: 6,
  /** Ends a transaction: commits ("T") or not ("F"). */
  TRANSACTION_END: 7,
  /** Tells of a new domain. */
  INTRODUCE: 8,
  /** Tells that a domain is gone. */
  RELEASE: 9,
  /** Asks for a domain's path. */
  GET_DOMAIN_PATH: 10,
  /** Writes a node. */
  WRITE: 11,
  /** Makes an empty node. */
  MKDIR: 12,
  /** Removes a node and all below it. */
  RM: 13,
  /** Sets permissions. */
  SET_PERMS: 14,
  /** From the daemon: a watch fired. */
  WATCH_EVENT: 15,
  /** From the daemon: a request failed; the body is the error's name. */
  ERROR: 16,
  /** Asks whether a domain was introduced. */
  IS_DOMAIN_INTRODUCED: 17,
  /** Tells that a domain resumed. */
  RESUME: 18,
  /** Lets a domain act for another. */
  SET_TARGET: 19,
  /** Removes all of a connection's watches. */
  RESET_WATCHES: 21,
  /** Lists a part of the children. */
  DIRECTORY_PART: 22,
  /** No message. */
  INVALID: 65535,
} as const;

/** Bits of `xenstore_domain_interface.server_features`: `XENSTORE_SERVER_FEATURE_*` of `io/xs_wire.h`. */
export const XENSTORE_FEATURE = {
  /** The ring can be reset. */
  RECONNECTION: 1,
  /** The `error` field is used. */
  ERROR: 2,
} as const;

/** Values of `xenstore_domain_interface.connection`: `XENSTORE_CONNECTED` and `XENSTORE_RECONNECT` of `io/xs_wire.h`. */
export const XENSTORE_CONNECTION = {
  /** The ring works. */
  CONNECTED: 0,
  /** The guest asks for a reset of the ring. */
  RECONNECT: 1,
} as const;

/** Values of `xenstore_domain_interface.error`: `XENSTORE_ERROR_*` of `io/xs_wire.h`. */
export const XENSTORE_ERROR = {
  /** No error. */
  NONE: 0,
  /** Communication failed. */
  COMM: 1,
  /** A ring index is out of range. */
  RINGIDX: 2,
  /** A message breaks the protocol. */
  PROTO: 3,
} as const;

/** Values of a device's `state` node: `XenbusState*` of `io/xenbus.h`. */
export const XENBUS_STATE = {
  /** No state. */
  Unknown: 0,
  /** The end has just been made. */
  Initialising: 1,
  /** Initialised early, waiting for the other end's parameters. */
  InitWait: 2,
  /** Its parameters are in the store. */
  Initialised: 3,
  /** Works. */
  Connected: 4,
  /** Going down. */
  Closing: 5,
  /** Down. */
  Closed: 6,
  /** Being changed. */
  Reconfiguring: 7,
  /** Changed. */
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
