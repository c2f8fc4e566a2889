import type { NetworkHost } from "../network-host.ts";

/** Timers of many things share one of the host's, which isn't set more often than so many milliseconds. */
const STEP = 20;

/** Calls `look` when a deadline has come; `look` answers the next one. */
export class Deadlines {
  readonly #host: Pick<NetworkHost, "now" | "after">;
  readonly #look: (now: number) => number;
  #at = Number.POSITIVE_INFINITY;
  #cancel: (() => void) | undefined;

  constructor(host: Pick<NetworkHost, "now" | "after">, look: (now: number) => number) {
    this.#host = host;
    this.#look = look;
  }

  /** Has `look` called at `time` at the latest, give or take a step. */
  set(time: number): void {
    if (time >= this.#at) return;
    this.#cancel?.();
    const now = this.#host.now();
    this.#at = Math.max(time, now + STEP);
    this.#cancel = this.#host.after(this.#at - now, () => {
      this.#at = Number.POSITIVE_INFINITY;
      this.#cancel = undefined;
      this.set(this.#look(this.#host.now()));
    });
  }

  /** Ends it. */
  stop(): void {
    this.#cancel?.();
    this.#at = Number.NEGATIVE_INFINITY;
  }
}
