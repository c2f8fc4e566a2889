import type { DomId } from "@paravirt/core";
import type { XenbusBackend } from "./backend.ts";
import type { XenbusStore } from "./end.ts";

/** A granted frame as a backend sees it: the guest's own memory, which the guest may change at any moment. */
export interface GrantedPage {
  /** The granted bytes themselves: 4096, or fewer of a sub-page grant. */
  readonly bytes: Uint8Array;
  /** Whether only reading was asked for. */
  readonly readOnly: boolean;
  /** To be called after writing while the mapping is kept, since the page may hold code; `release` does it too. */
  written(): void;
  /** Ends the mapping. Calling it twice does nothing. */
  release(): void;
}

/** The backend's end of an event channel. */
export interface EventChannelEnd {
  /** Signals the guest. */
  notify(): void;
  /** Lets go; the guest's end is unbound again. Calling it twice does nothing. */
  close(): void;
}

/** What a backend may do to the domain that it serves: what Xen lets domain 0 do, and no more. */
export interface GuestPort {
  /** The domain. */
  readonly domid: DomId;
  /** Maps a frame that the guest granted to domain 0; a `GNTST` number below 0 when it didn't. */
  mapGrant(ref: number, options?: { readonly readOnly?: boolean }): GrantedPage | number;
  /**
   * Binds the other end of a port that the guest allocated for domain 0; `-errno` when it didn't. `listener` is called
   * for each signal, once at the start, never in the middle of a guest's instruction; what it throws ends the machine.
   */
  bindEventChannel(port: number, listener: () => void): EventChannelEnd | number;
  /**
   * Runs `work` on the machine's own turn, after the guest had a chance to run: for a backend that has more to do than
   * one turn should take.
   */
  later(work: () => void): void;
}

/** What a device's backend gets when it starts. */
export interface DeviceContext {
  /** The domain that it serves. */
  readonly guest: GuestPort;
  /** The way to xenstore, with domain 0's rights. */
  readonly store: XenbusStore;
  /** The backend's nodes: `/local/domain/0/backend/TYPE/DOMID/ID`. */
  readonly path: string;
  /** Gets errors that nobody else can be told of: one line for the log. */
  readonly onError: (error: unknown) => void;
}

/** A device that can be given to a domain: the nodes that the toolstack writes, and the backend behind them. */
export interface Device {
  /** `vbd`, `vif`, `9pfs`, … */
  readonly type: string;
  /** The device's number, unique among those of its type in the domain: 51712 for xvda. */
  readonly id: number;
  /** Nodes of the frontend besides `backend`, `backend-id` and `state`. */
  readonly frontend: Readonly<Record<string, string>>;
  /** Nodes of the backend besides `frontend`, `frontend-id`, `online` and `state`. */
  readonly backend: Readonly<Record<string, string>>;
  /** Starts the backend; called once the nodes are there. One device serves one domain at a time. */
  start(context: DeviceContext): Promise<XenbusBackend>;
}
