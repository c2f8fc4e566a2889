/**
 * A complete xenstore: store, transactions, watches, permissions, quotas, wire protocol, client.
 * @packageDocumentation
 */
export type { XenstoreAccess } from "./access.ts";
export {
  type ByteRingPlace,
  type ByteRingReader,
  type ByteRingWriter,
  createByteRingReader,
  createByteRingWriter,
  type RingPort,
} from "./byte-ring.ts";
export {
  createXenstoreClient,
  type TransactionOptions,
  type XenstoreClient,
  type XenstoreNodes,
  type XenstoreWatch,
} from "./client.ts";
export type { XenstoreConnection } from "./connection.ts";
export {
  isXenstoreErrno,
  isXenstoreError,
  type XenstoreErrno,
  XenstoreError,
  type XenstoreErrorCode,
} from "./errors.ts";
export type { XenstoreJournal } from "./journal.ts";
export { localLink, ringLink, streamLink, type XenstoreLink, type XenstoreRingLink } from "./link.ts";
export {
  formatPermissions,
  type Permission,
  type Permissions,
  parsePermissions,
} from "./permissions.ts";
export {
  addDevice,
  type DeviceNodes,
  type DomainImage,
  type DomainNodes,
  populateDomain,
  populateHost,
  type RingNodes,
  removeDeviceNodes,
  removeDomainNodes,
} from "./populate.ts";
export { DEFAULT_QUOTAS, type XenstoreQuotas } from "./quota.ts";
export type { XenstoreRing } from "./ring-server.ts";
export { createXenstore, type Xenstore, type XenstoreOptions } from "./store.ts";
export {
  createMessageDecoder,
  decodeChunk,
  encodeMessage,
  MESSAGE_HEADER_SIZE,
  type MessageDecoder,
  type XenstoreMessage,
} from "./wire.ts";
