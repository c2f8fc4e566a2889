/**
 * The reference VMM: a Xen machine with domains and devices in a few calls, in Node.js and browsers.
 * @packageDocumentation
 */
export { instructionClock, realTimeClock, type VirtualClock } from "./clock.ts";
export type { ConsoleStreams } from "./console-streams.ts";
export type { AttachedDevice } from "./devices.ts";
export type { MachineDomain } from "./domain.ts";
export { createMachine, type Machine } from "./machine.ts";
export type { GuestLayout } from "./mini/assemble-guest.ts";
export { type MiniGuestOptions, miniGuest } from "./mini/mini-guest.ts";
export type { MiniEnding } from "./mini/mini-source.ts";
export type { DomainShutdown, MachineDomainOptions, MachineOptions, MachineStatistics } from "./options.ts";
