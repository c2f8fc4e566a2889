/**
 * Numbers, structures and codecs of Xen's public headers for x86_64 and x86_32.
 * @packageDocumentation
 */
export {};
