/**
 * VCPU schedulers behind one interface: credit2 and null.
 * @packageDocumentation
 */
export {};
