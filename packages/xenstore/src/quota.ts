/** How much one unprivileged domain may use; 0 lifts a limit. The names are those of GET_QUOTA in xenstore.txt. */
export interface XenstoreQuotas {
  /** Nodes that the domain owns. */
  readonly nodes: number;
  /** Bytes of one node: 20, 8 for each permission, the value, and each child's name and its NUL. */
  readonly "node-size": number;
  /** Entries in a node's permission list. */
  readonly permissions: number;
  /** Watches set at once. */
  readonly watches: number;
  /** Transactions open at once. */
  readonly transactions: number;
  /** Different nodes that one transaction may touch. */
  readonly "transaction-nodes": number;
  /** Requests whose reply the domain hasn't taken out of its ring yet; more are left in the ring unread. */
  readonly outstanding: number;
  /** Bytes of replies and events that wait for the domain to take them; past it the ring is shut with an error. */
  readonly memory: number;
}

/** The quotas of Xen 4.17's xenstored. */
export const DEFAULT_QUOTAS: XenstoreQuotas = {
  nodes: 1000,
  "node-size": 2048,
  permissions: 5,
  watches: 128,
  transactions: 10,
  "transaction-nodes": 1024,
  outstanding: 20,
  memory: 2_097_152 + 65_536,
};

/** Tells whether `used` is past `limit`, 0 being none. */
export function isOver(limit: number, used: number): boolean {
  return limit !== 0 && used > limit;
}

/** Tells whether `name` is a quota's. */
export function isQuotaName(name: string): name is keyof XenstoreQuotas {
  return Object.hasOwn(DEFAULT_QUOTAS, name);
}
