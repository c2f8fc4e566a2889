/**
 * What paravirt needs of Node.js: files, terminals, Debian packages through apt.
 * @packageDocumentation
 */
export {};
