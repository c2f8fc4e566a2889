/**
 * Xen domains, VCPUs, event channels, grant tables and hypercalls for PV guests.
 * @packageDocumentation
 */
export {};
