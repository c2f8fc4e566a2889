// A table: Constants of event_channel.h.

/** Values of `evtchn_status.status`: `EVTCHNSTAT_*` of `event_channel.h`. */
export const EVTCHNSTAT = {
  closed: 0,
  unbound: 1,
  interdomain: 2,
  pirq: 3,
  virq: 4,
  ipi: 5,
} as const;

/** Bit numbers, limits and priorities of FIFO event channels: `EVTCHN_FIFO_*` of `event_channel.h`. */
export const EVTCHN_FIFO = {
  PRIORITY_MAX: 0,
  PRIORITY_DEFAULT: 7,
  PRIORITY_MIN: 15,
  MAX_QUEUES: 16,
  LINK_BITS: 17,
  BUSY: 28,
  LINKED: 29,
  MASKED: 30,
  PENDING: 31,
  LINK_MASK: 0x1ffff,
  NR_CHANNELS: 0x20000,
} as const;

/** Flag of `evtchn_bind_pirq.flags`: the line may be shared (`event_channel.h`). */
export const BIND_PIRQ__WILL_SHARE = 1;
