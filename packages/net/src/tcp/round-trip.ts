const FIRST_TIMEOUT = 1000;
/** Above what a guest's processor may be busy elsewhere; RFC 6298 says 1 s, Linux 200 ms. */
const LEAST_TIMEOUT = 300;
const LONGEST_TIMEOUT = 30_000;

/** How long to wait for an acknowledgment (RFC 6298), in milliseconds. */
export class RoundTrip {
  #smoothed: number | undefined;
  #variation = 0;
  #backoff = 1;
  #timeout = FIRST_TIMEOUT;

  /** How long to wait now. */
  get timeout(): number {
    return Math.min(this.#timeout * this.#backoff, LONGEST_TIMEOUT);
  }

  /** A segment that was sent once was acknowledged after so long. */
  measured(time: number): void {
    if (this.#smoothed === undefined) {
      this.#smoothed = time;
      this.#variation = time / 2;
    } else {
      this.#variation += (Math.abs(this.#smoothed - time) - this.#variation) / 4;
      this.#smoothed += (time - this.#smoothed) / 8;
    }
    this.#timeout = Math.max(LEAST_TIMEOUT, this.#smoothed + 4 * this.#variation);
  }

  /** Nothing was heard in time. */
  expired(): void {
    if (this.timeout < LONGEST_TIMEOUT) this.#backoff *= 2;
  }

  /** Something was acknowledged. */
  progressed(): void {
    this.#backoff = 1;
  }
}
