import { XENBUS_STATE } from "@paravirt/xen-abi";

/** What a device's `state` node says: a value of `XENBUS_STATE` of xen-abi. */
export type XenbusState = (typeof XENBUS_STATE)[keyof typeof XENBUS_STATE];

const { Unknown, Initialising, InitWait, Initialised, Connected, Closing, Closed, Reconfiguring, Reconfigured } =
  XENBUS_STATE;

/** Where an end may go from each state: `io/xenbus.h` and the steps that Linux's frontends and backends take. */
const NEXT: Readonly<Record<XenbusState, readonly XenbusState[]>> = {
  [Unknown]: [Initialising, Closed],
  [Initialising]: [InitWait, Initialised, Connected, Closing, Closed],
  [InitWait]: [Initialised, Connected, Closing, Closed],
  [Initialised]: [Connected, Closing, Closed],
  [Connected]: [Closing, Closed, Reconfiguring],
  [Closing]: [Closed],
  // A frontend that comes again (a reboot, a crash kernel) finds the device closed and starts anew.
  [Closed]: [Initialising, InitWait],
  [Reconfiguring]: [Reconfigured, Connected, Closing, Closed],
  [Reconfigured]: [Reconfiguring, Connected, Closing, Closed],
};

/** Tells whether a device's end may go from one state to the other. */
export function isXenbusTransition(from: XenbusState, to: XenbusState): boolean {
  return NEXT[from].includes(to);
}

/** Reads a `state` node; anything that isn't a state, and a missing node, is Unknown (0). */
export function parseXenbusState(text: string | undefined): XenbusState {
  return /^[0-8]$/.test(text ?? "") ? (Number(text) as XenbusState) : Unknown;
}

/** The state's name as `io/xenbus.h` has it: `Connected`. */
export function xenbusStateName(state: XenbusState): string {
  return Object.entries(XENBUS_STATE).find(([, value]) => value === state)![0];
}
