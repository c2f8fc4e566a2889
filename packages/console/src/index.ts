/**
 * Xen's PV console backend: what a guest prints comes out at once, what the host types goes in as there is room.
 * @packageDocumentation
 */
export { type Console, type ConsoleOptions, createConsole } from "./backend.ts";
