// A table: constants of io/fbif.h and io/kbdif.h.

/** Values of `xenfb_out_event.type` and `xenfb_in_event.type`: `XENFB_TYPE_*` of `io/fbif.h`. */
export const XENFB_TYPE = {
  /** To the guest: how often the picture is looked at. */
  REFRESH_PERIOD: 1,
  /** From the guest: a part of the picture changed. */
  UPDATE: 2,
  /** From the guest: the picture has another size. */
  RESIZE: 3,
} as const;

/** Values of `xenkbd_in_event.type`: `XENKBD_TYPE_*` of `io/kbdif.h`. */
export const XENKBD_TYPE = {
  /** The pointer moved by so much. */
  MOTION: 1,
  /** Not to be used. */
  RESERVED: 2,
  /** A key or button went down or up. */
  KEY: 3,
  /** The pointer moved to a place. */
  POS: 4,
  /** A touch. */
  MTOUCH: 5,
} as const;

/** Values of `xenkbd_mtouch.event_type`: `XENKBD_MT_EV_*` of `io/kbdif.h`. */
export const XENKBD_MT_EV = {
  /** A finger touched. */
  DOWN: 0,
  /** A finger left. */
  UP: 1,
  /** A finger moved. */
  MOTION: 2,
  /** All of one moment has been told. */
  SYN: 3,
  /** The touch has a shape. */
  SHAPE: 4,
  /** The touch has a direction. */
  ORIENT: 5,
} as const;

/** Byte offset of the framebuffer page's ring of events to the guest (`io/fbif.h`). */
export const XENFB_IN_RING_OFFS = 1024;
/** Bytes of that ring. */
export const XENFB_IN_RING_SIZE = 1024;
/** Byte offset of the framebuffer page's ring of events from the guest. */
export const XENFB_OUT_RING_OFFS = 2048;
/** Bytes of that ring. */
export const XENFB_OUT_RING_SIZE = 2048;
/** Byte offset of the keyboard page's ring of events to the guest (`io/kbdif.h`). */
export const XENKBD_IN_RING_OFFS = 1024;
/** Bytes of that ring. */
export const XENKBD_IN_RING_SIZE = 2048;
/** Byte offset of the keyboard page's ring of events from the guest. */
export const XENKBD_OUT_RING_OFFS = 3072;
/** Bytes of that ring. */
export const XENKBD_OUT_RING_SIZE = 1024;
/** Bytes of one event in any of these rings. */
export const XENKBD_IN_EVENT_SIZE = 40;
