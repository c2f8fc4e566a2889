import { XENBUS_STATE } from "@paravirt/xen-abi";
import { isFrontendReady, openXenbusEnd, type XenbusEnd, type XenbusStore } from "./end.ts";
import type { XenbusState } from "./state.ts";

/** A device's backend, as its driver writes it: what to offer, how to connect, how to let go. */
export interface XenbusBackendOptions {
  /** The way to xenstore, with the rights of the backend's domain. */
  readonly store: XenbusStore;
  /** The backend's nodes: `/local/domain/0/backend/TYPE/DOMID/ID`. */
  readonly path: string;
  /** Features and sizes to be written before the frontend looks (InitWait). */
  readonly offer: Readonly<Record<string, string>>;
  /**
   * Connects to a frontend that is ready: reads its nodes, maps its rings; answers the nodes that the frontend reads
   * once connected. What it throws ends the device with an `error` node, since no guest can make us stop otherwise.
   */
  readonly connect: (end: XenbusEnd) => Promise<Readonly<Record<string, string>>> | Readonly<Record<string, string>>;
  /** Lets go of everything that `connect` took: called once for each successful `connect`, whatever ends it. */
  readonly disconnect: () => Promise<void> | void;
  /** Called when {@link XenbusBackend.close} is over, whatever became of it: for what `start` took outside of a connection. */
  readonly closed?: () => Promise<void> | void;
  /** Gets errors that nobody else can be told of. */
  readonly onError: (error: unknown) => void;
}

/** A running backend. */
export interface XenbusBackend {
  /** Its own state. */
  readonly state: XenbusState;
  /** Asks the frontend to let go (unplug): goes to Closing; Closed follows when the frontend is. */
  unplug(): Promise<void>;
  /** Stops at once: disconnects, leaves Closed behind, listens no more. */
  close(): Promise<void>;
}

/** Starts a backend and drives it through its states as its frontend goes through its own. */
export async function createXenbusBackend(options: XenbusBackendOptions): Promise<XenbusBackend> {
  const { Initialising, InitWait, Connected, Closing, Closed, Unknown } = XENBUS_STATE;
  let connected = false;
  let started: (end: XenbusEnd) => void = () => {};
  const opened = new Promise<XenbusEnd>((resolve) => {
    started = resolve;
  });

  const letGo = async (): Promise<void> => {
    if (!connected) return;
    connected = false;
    await options.disconnect();
  };
  const connect = async (end: XenbusEnd): Promise<void> => {
    try {
      const nodes = await options.connect(end);
      connected = true;
      await end.write(nodes);
      await end.switchTo(Connected);
    } catch (error) {
      await letGo();
      await end.fail(error instanceof Error ? error.message : String(error));
      options.onError(error);
    }
  };
  const follow = async (frontend: XenbusState): Promise<void> => {
    const end = await opened;
    if (isFrontendReady(frontend)) {
      if (end.state === InitWait) await connect(end);
    } else if (frontend === Initialising) {
      await letGo();
      if (end.state === Closed) await end.switchTo(InitWait);
    } else if (frontend === Closing) {
      await letGo();
      if (end.state !== Closed) await end.switchTo(Closing);
    } else if (frontend === Closed || frontend === Unknown) {
      await letGo();
      await end.switchTo(Closed);
    }
  };
  const end = await openXenbusEnd({
    store: options.store,
    path: options.path,
    otherEnd: "frontend",
    onOtherState: follow,
    onError: options.onError,
  });
  await end.write(options.offer);
  await end.switchTo(InitWait);
  started(end);
  return {
    get state() {
      return end.state;
    },
    async unplug() {
      await end.write({ online: "0" });
      if (end.state !== Closed) await end.switchTo(Closing);
    },
    async close() {
      try {
        await end.close();
        await letGo();
        await end.switchTo(Closed);
      } finally {
        await options.closed?.();
      }
    },
  };
}
