import { ParavirtError } from "@paravirt/core";

/** A limit on what a guest sends: so many bytes in each interval. */
export interface VifRate {
  /** Bytes that may be sent in an interval. */
  readonly bytes: number;
  /** Microseconds of an interval. */
  readonly interval: number;
}

/** The longest interval that fits the 32 bits which a backend's `rate` node gives it. */
const MAX_INTERVAL = 0xffffffff;
/** What xl takes when no interval is given (xl-network-configuration(5)). */
const DEFAULT_INTERVAL = 50_000;
const UNITS: Readonly<Record<string, number>> = { "": 1, K: 1e3, M: 1e6, G: 1e9 };
const INTERVAL_UNITS: Readonly<Record<string, number>> = { us: 1, ms: 1000, s: 1_000_000 };

/**
 * Reads xl's `rate=` (xl-network-configuration(5)): `10Mb/s` (bits), `250KB/s` (bytes), `1MB/s@20ms` (with the interval
 * in which the credit comes back, 50 ms when left out). Throws `BAD_ARGUMENT` for anything else and for no bytes at all.
 */
export function parseVifRate(text: string): VifRate {
  const match = /^([0-9]+)([KMG]?)([Bb])\/s(?:@([0-9]+)(us|ms|s))?$/.exec(text);
  if (match === null) throw new ParavirtError("BAD_ARGUMENT", `rate ${text}: 10Mb/s, 250KB/s or 1MB/s@20ms`);
  const [, amount, unit, kind, time, timeUnit] = match;
  const perSecond = (Number(amount) * UNITS[unit!]!) / (kind === "b" ? 8 : 1);
  const interval = time === undefined ? DEFAULT_INTERVAL : Number(time) * INTERVAL_UNITS[timeUnit!]!;
  const bytes = Math.floor((perSecond * interval) / 1e6);
  if (interval < 1 || interval > MAX_INTERVAL)
    throw new ParavirtError("BAD_ARGUMENT", `rate ${text}: an interval is 1 to ${MAX_INTERVAL} microseconds`);
  return checkVifRate({ bytes, interval });
}

/** Checks a limit. Throws `BAD_ARGUMENT` when it lets nothing through or isn't whole numbers. */
export function checkVifRate({ bytes, interval }: VifRate): VifRate {
  if (!Number.isSafeInteger(bytes) || bytes < 1)
    throw new ParavirtError("BAD_ARGUMENT", `a rate of ${bytes} bytes an interval lets nothing through`);
  if (!Number.isInteger(interval) || interval < 1 || interval > MAX_INTERVAL)
    throw new ParavirtError("BAD_ARGUMENT", `an interval of ${interval} microseconds is not in 1 to ${MAX_INTERVAL}`);
  return { bytes, interval };
}

/** A bucket of credit that is filled once an interval, as Linux's netback has one for each queue. */
export class CreditBucket {
  private readonly rate: VifRate;
  private credit: number;
  private filledAt: number;

  /** `now` is the time in milliseconds. */
  constructor(rate: VifRate, now: number) {
    this.rate = rate;
    this.credit = rate.bytes;
    this.filledAt = now;
  }

  /** Takes the credit for a frame of `bytes` and answers 0, or answers the milliseconds after which to ask again. */
  take(bytes: number, now: number): number {
    const interval = this.rate.interval / 1000;
    const passed = Math.floor((now - this.filledAt) / interval);
    if (passed > 0) {
      this.filledAt += passed * interval;
      // What is left of an interval is lost, except that a frame longer than an interval's bytes must save up for itself.
      this.credit = Math.min(Math.max(this.rate.bytes, bytes), this.credit + passed * this.rate.bytes);
    }
    if (bytes <= this.credit) {
      this.credit -= bytes;
      return 0;
    }
    return Math.max(0, this.filledAt + interval - now);
  }
}
