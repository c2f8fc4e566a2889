/** Machine frame number: machine address / 4096. An index into {@link MachineMemory}. */
export type Mfn = number & {
  /** Only for the type checker. */
  readonly __unit: "machine frame";
};
/** Pseudo-physical frame number: a PV guest's own, contiguous numbering of its memory. */
export type Pfn = number & {
  /** Only for the type checker. */
  readonly __unit: "guest pseudo-physical frame";
};
/** Guest frame number as a hypercall names it: an MFN for PV guests, a PFN for translated ones. */
export type Gfn = number & {
  /** Only for the type checker. */
  readonly __unit: "guest frame";
};
/** Index into a domain's grant table. */
export type GrantRef = number & {
  /** Only for the type checker. */
  readonly __unit: "grant reference";
};
/** Event channel port, local to one domain. */
export type Port = number & {
  /** Only for the type checker. */
  readonly __unit: "event channel port";
};
/** Domain id, 0 to 0x7fef, or one of Xen's special ids from 0x7ff0. */
export type DomId = number & {
  /** Only for the type checker. */
  readonly __unit: "domain id";
};

/** Bytes in a page: 4096. */
export const PAGE_SIZE = 4096;
/** log2 of {@link PAGE_SIZE}. */
export const PAGE_SHIFT = 12;
