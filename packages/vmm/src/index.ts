/**
 * The reference VMM: a Xen machine with domains and devices in a few calls, in Node.js and browsers.
 * @packageDocumentation
 */
export { instructionClock, realTimeClock, type VirtualClock } from "./clock.ts";
export type { ConsoleStreams } from "./console-streams.ts";
export type { MachineDomain } from "./domain.ts";
export { createMachine, type Machine } from "./machine.ts";
export type { DomainShutdown, MachineDomainOptions, MachineOptions, MachineStatistics } from "./options.ts";
