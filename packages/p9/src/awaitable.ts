import type { Awaitable } from "./file-system.ts";

/** Goes on with `value` when it is there: at once if it is there now, so that no turn is lost. */
export function chain<T, U>(value: Awaitable<T>, next: (value: T) => Awaitable<U>): Awaitable<U> {
  return isPromise(value) ? value.then(next) : next(value);
}

/** Tells a value that comes later. */
export function isPromise<T>(value: Awaitable<T>): value is Promise<T> {
  return typeof value === "object" && value !== null && "then" in value;
}

/** Does `work`, and `failed` before its error goes on, whether that comes at once or later. */
export function onFailure<T>(work: () => Awaitable<T>, failed: () => void): Awaitable<T> {
  const again = (error: unknown): never => {
    failed();
    throw error;
  };
  try {
    const value = work();
    return isPromise(value) ? value.catch(again) : value;
  } catch (error) {
    return again(error);
  }
}
