import { distance } from "./sequence.ts";

/** Bytes that may be on their way at first. The link is memory: it loses only what a full queue drops. */
const FIRST_WINDOW = 256 * 1024;

const LARGEST_WINDOW = 16 * 1024 * 1024;

/** How much may be on its way: NewReno (RFC 5681, RFC 6582) in bytes. */
export class Congestion {
  readonly #segment: number;
  #threshold = Number.MAX_SAFE_INTEGER;
  /** While a hole is being mended: the sequence number at which it is over. */
  #recoverTo: number | undefined;
  #duplicates = 0;
  /** Bytes that may be on their way. */
  window: number = FIRST_WINDOW;

  constructor(segment: number) {
    this.#segment = segment;
  }

  /** The same acknowledgment again. Answers whether the first segment is to be sent again now. */
  duplicate(inFlight: number, next: number): boolean {
    this.#duplicates++;
    if (this.#recoverTo !== undefined) {
      this.window += this.#segment;
      return false;
    }
    if (this.#duplicates !== 3) return false;
    this.#threshold = Math.max(inFlight / 2, 2 * this.#segment);
    this.window = this.#threshold + 3 * this.#segment;
    this.#recoverTo = next;
    return true;
  }

  /** So many bytes were acknowledged. Answers whether there is another hole, to be mended now. */
  acknowledged(bytes: number, upTo: number): boolean {
    this.#duplicates = 0;
    if (this.#recoverTo !== undefined) {
      if (distance(upTo, this.#recoverTo) < 0) {
        this.window = Math.max(this.window - bytes + this.#segment, this.#segment);
        return true;
      }
      this.#recoverTo = undefined;
      this.window = this.#threshold;
      return false;
    }
    const grow = this.window < this.#threshold ? bytes : (this.#segment * bytes) / this.window;
    this.window = Math.min(this.window + grow, LARGEST_WINDOW);
    return false;
  }

  /** Nothing was heard in time: all that is on its way is taken for lost. */
  expired(inFlight: number): void {
    this.#threshold = Math.max(inFlight / 2, 2 * this.#segment);
    this.window = 2 * this.#segment;
    this.#recoverTo = undefined;
    this.#duplicates = 0;
  }
}
