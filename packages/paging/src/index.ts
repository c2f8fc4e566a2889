/**
 * x86 page-table formats and walks, and Xen's page types for direct paging.
 * @packageDocumentation
 */
export {};
