import { openTerminal, readSource } from "@paravirt/host-node";
import type { GuestSession } from "./run-guest.ts";

/** Joins this process's standard input with a guest's console; answers what lets go of it. */
export function joinInput(session: GuestSession, onLeave: () => void): () => void {
  if (process.stdin.isTTY) {
    const terminal = openTerminal({
      // Keys typed while the guest ends go nowhere.
      onInput: (bytes) => void session.send(Uint8Array.from(bytes)).catch(() => {}),
      onLeave,
    });
    return () => terminal.close();
  }
  return pumpInput(
    (bytes) => session.send(bytes),
    () => {},
  );
}

/** Sends standard input on, no faster than it is taken. */
export function pumpInput(send: (bytes: Uint8Array) => Promise<void>, onEnd: () => void): () => void {
  let waiting = Promise.resolve();
  const source = readSource(
    process.stdin,
    (bytes) => {
      source.pause();
      const copy = Uint8Array.from(bytes);
      waiting = waiting
        .then(() => send(copy))
        .then(
          () => source.resume(),
          () => {},
        );
    },
    () => {
      waiting.then(onEnd);
    },
  );
  return () => source.close();
}
