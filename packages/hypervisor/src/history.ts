/** Hypercalls kept per VCPU for crash reports. */
export const HISTORY_LENGTH = 16;

/** One remembered hypercall. */
export interface RememberedHypercall {
  /** Hypercall number, as in RAX. */
  readonly number: number;
  /** RDI RSI RDX R10 R8 R9. */
  readonly args: readonly bigint[];
  /** What went to RAX; undefined for one that had not returned. */
  readonly result: bigint | undefined;
}

/** The last hypercalls of a VCPU, in a ring that allocates nothing. */
export class HypercallHistory {
  /** Arguments as words, twelve a record: the caller copies registers in without making bigints. */
  readonly words: Uint32Array = new Uint32Array(HISTORY_LENGTH * 12);
  private readonly numbers = new Uint32Array(HISTORY_LENGTH);
  private readonly results = new BigInt64Array(HISTORY_LENGTH);
  private readonly low = new Float64Array(HISTORY_LENGTH);
  private readonly state = new Uint8Array(HISTORY_LENGTH);
  private next = 0;

  /** Begins a record and returns its slot; its arguments are words `slot * 12` on. */
  begin(number: number): number {
    const slot = this.next % HISTORY_LENGTH;
    this.next++;
    this.numbers[slot] = number;
    this.state[slot] = 1;
    return slot;
  }

  /** Notes a result that fits a double. */
  finish(slot: number, result: number): void {
    this.low[slot] = result;
    this.state[slot] = 2;
  }

  /** Notes a 64-bit result. */
  finishWide(slot: number, result: bigint): void {
    this.results[slot] = result;
    this.state[slot] = 3;
  }

  /** The records, oldest first. */
  list(): RememberedHypercall[] {
    const records: RememberedHypercall[] = [];
    const first = Math.max(0, this.next - HISTORY_LENGTH);
    for (let index = first; index < this.next; index++) {
      const slot = index % HISTORY_LENGTH;
      const args: bigint[] = [];
      for (let word = slot * 12; word < slot * 12 + 12; word += 2) {
        args.push((BigInt(this.words[word + 1] as number) << 32n) | BigInt(this.words[word] as number));
      }
      const state = this.state[slot];
      const result = state === 2 ? BigInt(this.low[slot] as number) : state === 3 ? this.results[slot] : undefined;
      records.push({ number: this.numbers[slot] as number, args, result });
    }
    return records;
  }
}
