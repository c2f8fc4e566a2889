import { assembleGuest, type GuestLayout } from "./assemble-guest.ts";
import { type MiniEnding, miniSource } from "./mini-source.ts";

/** What {@link miniGuest} can be told. */
export interface MiniGuestOptions extends GuestLayout {
  /** How it ends: by poweroff (when left out), reboot, crash (an invalid instruction), or not at all, spinning. */
  readonly ending?: MiniEnding;
}

/**
 * Makes a Xen PV kernel of a few hundred bytes, assembled when called: it prints a banner on its console, its name and
 * domain id from xenstore, waits for a timer event, says so, and ends. Boots in a domain of 6 MiB and more, and shows in
 * milliseconds whether a VMM works.
 */
export function miniGuest(options: MiniGuestOptions = {}): Uint8Array {
  return assembleGuest((macros) => miniSource(macros, options.ending ?? "poweroff"), options);
}
