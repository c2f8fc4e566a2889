/** Random numbers that a seed repeats (mulberry32), with the choices that a generator of programs makes. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0;
  }

  /** 32 random bits, unsigned. */
  bits(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** 64 random bits, unsigned. */
  wide(): bigint {
    return (BigInt(this.bits()) << 32n) | BigInt(this.bits());
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return this.bits() % limit;
  }

  /** Whether an event of `percent` probability happened. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  /** One of `items`. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}
