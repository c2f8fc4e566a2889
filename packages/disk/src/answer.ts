/** Something that is there at once, or comes later. */
export type Answer<T> = T | Promise<T>;

/** A procedure that yields whatever it must wait for, and nothing when all answers come at once. */
export type Steps<T> = Generator<Promise<unknown>, T, unknown>;

/** Waits, inside a {@link Steps}, for an answer that may already be there: `const x = yield* settled(file.read(…))`. */
export function* settled<T>(answer: Answer<T>): Steps<T> {
  return answer instanceof Promise ? ((yield answer) as T) : answer;
}

/**
 * Runs `steps`. When everything it asks for answers at once, so does this: a disk on a local file costs no promise and no
 * turn of the event loop.
 */
export function run<T>(steps: Steps<T>): Answer<T> {
  const first = steps.next();
  return first.done === true ? first.value : later(steps, first.value);
}

async function later<T>(steps: Steps<T>, awaited: Promise<unknown>): Promise<T> {
  for (;;) {
    let next: IteratorResult<Promise<unknown>, T>;
    try {
      const value = await awaited;
      next = steps.next(value);
    } catch (error) {
      // Thrown by the procedure itself this ends here as well: a finished generator throws what it is given.
      next = steps.throw(error);
    }
    if (next.done === true) return next.value;
    awaited = next.value;
  }
}

/** Runs one procedure after the other: what changes an image's tables must not meet another change half way. */
export class Turns {
  #last: Promise<unknown> | undefined;

  /** Runs `steps` when all those before it have ended; at once when there are none. */
  run<T>(steps: () => Steps<T>): Answer<T> {
    if (this.#last === undefined) {
      const answer = run(steps());
      if (answer instanceof Promise) this.#remember(answer);
      return answer;
    }
    const answer = this.#last.then(
      () => run(steps()),
      () => run(steps()),
    );
    this.#remember(answer);
    return answer;
  }

  #remember(answer: Promise<unknown>): void {
    const settledAnswer: Promise<unknown> = answer.then(
      () => this.#forget(settledAnswer),
      () => this.#forget(settledAnswer),
    );
    this.#last = settledAnswer;
  }

  #forget(answer: Promise<unknown>): void {
    if (this.#last === answer) this.#last = undefined;
  }
}
