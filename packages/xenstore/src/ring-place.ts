import { layout, XENSTORE_RING_SIZE } from "@paravirt/xen-abi";
import type { ByteRingPlace } from "./byte-ring.ts";

const { offsets } = layout("xenstore_domain_interface", "x86_64");

/** Requests, from the domain to the store (`struct xenstore_domain_interface`). */
export const REQUEST_RING: ByteRingPlace = {
  data: offsets.req,
  size: XENSTORE_RING_SIZE,
  consumer: offsets.req_cons,
  producer: offsets.req_prod,
};

/** Replies and events, from the store to the domain. */
export const RESPONSE_RING: ByteRingPlace = {
  data: offsets.rsp,
  size: XENSTORE_RING_SIZE,
  consumer: offsets.rsp_cons,
  producer: offsets.rsp_prod,
};

/** Byte offsets of the ring's other fields. */
export const RING_FIELDS: { readonly serverFeatures: number; readonly connection: number; readonly error: number } = {
  serverFeatures: offsets.server_features,
  connection: offsets.connection,
  error: offsets.error,
};
