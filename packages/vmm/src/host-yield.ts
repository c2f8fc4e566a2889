/** What hosts have beside the standards: Node's fastest way to let other work run. */
interface HostGlobals {
  readonly setImmediate?: (callback: () => void) => void;
}

const { setImmediate } = globalThis as HostGlobals;

/** Resolves after the host's event loop had a turn: timers, input, network. */
export function hostYield(): Promise<void> {
  if (setImmediate !== undefined) return new Promise((resolve) => setImmediate(resolve));
  // A message to ourselves: unlike setTimeout, browsers don't stretch it to four milliseconds.
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
