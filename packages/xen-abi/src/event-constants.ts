// A table: Constants of event_channel.h.

/** Values of `evtchn_status.status`: `EVTCHNSTAT_*` of `event_channel.h`. */
export const EVTCHNSTAT = {
  /** Not in use. */
  closed: 0,
  /** Waits for another domain to connect. */
  unbound: 1,
  /** Connected to another domain's port. */
  interdomain: 2,
  /** Bound to a physical interrupt. */
  pirq: 3,
  /** Bound to a virtual interrupt. */
  virq: 4,
  /** For interrupts between VCPUs. */
  ipi: 5,
} as const;

/** Bit numbers, limits and priorities of FIFO event channels: `EVTCHN_FIFO_*` of `event_channel.h`. */
export const EVTCHN_FIFO = {
  /** The highest priority. */
  PRIORITY_MAX: 0,
  /** A new port's priority. */
  PRIORITY_DEFAULT: 7,
  /** The lowest priority. */
  PRIORITY_MIN: 15,
  /** Number of priorities. */
  MAX_QUEUES: 16,
  /** Width of the link field, in bits. */
  LINK_BITS: 17,
  /** Bit number: the word is being changed. */
  BUSY: 28,
  /** Bit number: the event is in a queue. */
  LINKED: 29,
  /** Bit number: the event is masked. */
  MASKED: 30,
  /** Bit number: the event is pending. */
  PENDING: 31,
  /** Bits of the link: the next port in the queue. */
  LINK_MASK: 0x1ffff,
  /** Most ports of a domain. */
  NR_CHANNELS: 0x20000,
} as const;

/** Flag of `evtchn_bind_pirq.flags`: the line may be shared (`event_channel.h`). */
export const BIND_PIRQ__WILL_SHARE = 1;
