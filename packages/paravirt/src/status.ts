/** Exit statuses of the command line. */
export const STATUS = {
  /** The guest powered off, or the command did what was asked. */
  OK: 0,
  /** Wrong usage, or an image that can't boot. */
  USAGE: 2,
  /** The guest asked for a reboot. */
  REBOOT: 3,
  /** The guest crashed. */
  CRASH: 4,
  /** The guest still ran when its time was up. */
  TIMEOUT: 5,
} as const;
