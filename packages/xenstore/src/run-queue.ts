/**
 * Gives each ring its turn: who has more to do than one turn allows goes to the end of the line. Without a `schedule`
 * function the line is worked off at once; with one, each call of the function it is handed gives one turn.
 */
export class RunQueue {
  readonly #waiting = new Set<() => void>();
  readonly #schedule: ((run: () => void) => void) | undefined;
  #running = false;

  constructor(schedule: ((run: () => void) => void) | undefined) {
    this.#schedule = schedule;
  }

  /** Puts `turn` into the line, unless it stands there. */
  add(turn: () => void): void {
    this.#waiting.add(turn);
    if (this.#running) return;
    this.#running = true;
    if (this.#schedule !== undefined) this.#schedule(() => this.#runOne());
    else {
      try {
        while (this.#waiting.size > 0) this.#take();
      } finally {
        this.#running = false;
      }
    }
  }

  #runOne(): void {
    try {
      this.#take();
    } finally {
      if (this.#waiting.size === 0) this.#running = false;
      else this.#schedule!(() => this.#runOne());
    }
  }

  #take(): void {
    for (const turn of this.#waiting) {
      this.#waiting.delete(turn);
      turn();
      return;
    }
  }
}
