/**
 * The reference VMM: a Xen machine with domains and devices in a few calls, in Node.js and browsers.
 * @packageDocumentation
 */
export {};
