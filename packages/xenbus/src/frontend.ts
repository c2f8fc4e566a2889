import { XENBUS_STATE } from "@paravirt/xen-abi";
import { openXenbusEnd, type XenbusEnd, type XenbusStore } from "./end.ts";
import type { XenbusState } from "./state.ts";

/** A device's frontend, as a guest's driver is one. */
export interface XenbusFrontendOptions {
  /** The way to xenstore, with the rights of the guest. */
  readonly store: XenbusStore;
  /** The frontend's nodes: `device/TYPE/ID`, relative to the domain's own, or absolute. */
  readonly path: string;
  /** Makes the rings once the backend waits, and answers the nodes that tell the backend of them. */
  readonly offer: (end: XenbusEnd) => Promise<Readonly<Record<string, string>>> | Readonly<Record<string, string>>;
  /** Called when the backend is connected, to read what it says of the device. */
  readonly connected: (end: XenbusEnd) => Promise<void> | void;
  /** Called when the backend lets go. */
  readonly disconnected: () => Promise<void> | void;
  /** Gets errors that nobody else can be told of. */
  readonly onError: (error: unknown) => void;
}

/** A running frontend. */
export interface XenbusFrontend {
  /** Its own state. */
  readonly state: XenbusState;
  /** Lets go of the device: Closing, then Closed. */
  close(): Promise<void>;
}

/** Starts a frontend and drives it through its states as its backend goes through its own. */
export async function createXenbusFrontend(options: XenbusFrontendOptions): Promise<XenbusFrontend> {
  const { Initialising, InitWait, Initialised, Connected, Closing, Closed } = XENBUS_STATE;
  let started: (end: XenbusEnd) => void = () => {};
  const opened = new Promise<XenbusEnd>((resolve) => {
    started = resolve;
  });
  const follow = async (backend: XenbusState): Promise<void> => {
    const end = await opened;
    if (backend === InitWait && end.state === Initialising) {
      await end.write(await options.offer(end));
      await end.switchTo(Initialised);
    } else if (backend === Connected && end.state === Initialised) {
      await options.connected(end);
      await end.switchTo(Connected);
    } else if ((backend === Closing || backend === Closed) && end.state !== Closed && end.state !== Initialising) {
      await options.disconnected();
      await end.switchTo(Closed);
    }
  };
  const end = await openXenbusEnd({
    store: options.store,
    path: options.path,
    otherEnd: "backend",
    onOtherState: follow,
    onError: options.onError,
  });
  if (end.state === Closed) await end.switchTo(Initialising);
  started(end);
  return {
    get state() {
      return end.state;
    },
    async close() {
      await end.close();
      if (end.state === Closed) return;
      await end.switchTo(Closing);
      await options.disconnected();
      await end.switchTo(Closed);
    },
  };
}
