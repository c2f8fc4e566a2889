import { FileError } from "./errno.ts";
import type { Cancellation } from "./file-system.ts";

/** A {@link Cancellation} and the way to make it happen. */
export class CancellationSource implements Cancellation {
  #cancelled = false;
  #listeners: Set<() => void> | undefined;

  get cancelled(): boolean {
    return this.#cancelled;
  }

  onCancel(listener: () => void): () => void {
    if (this.#cancelled) {
      listener();
      return () => {};
    }
    this.#listeners ??= new Set();
    this.#listeners.add(listener);
    return () => this.#listeners?.delete(listener);
  }

  /** Makes it happen; later calls do nothing. */
  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    for (const listener of listeners ?? []) listener();
  }
}

/**
 * Waits for what `start` calls back with; throws `EINTR` when cancelled first. `start` answers how to stop waiting, which
 * is called on cancellation only: for a read that waits until there is something.
 */
export function waitFor<T>(
  cancellation: Cancellation,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let over = false;
    let unhook = (): void => {};
    const end = (): void => {
      over = true;
      unhook();
    };
    const stop = start(
      (value) => {
        end();
        resolve(value);
      },
      (error) => {
        end();
        reject(error);
      },
    );
    if (over) return;
    unhook = cancellation.onCancel(() => {
      over = true;
      stop();
      reject(new FileError("EINTR", "cancelled"));
    });
  });
}
