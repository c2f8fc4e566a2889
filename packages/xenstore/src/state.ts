import { XENSTORE_FEATURE } from "@paravirt/xen-abi";
import { Recorder, type XenstoreJournal } from "./journal.ts";
import type { Caller, Permissions } from "./permissions.ts";
import { DEFAULT_QUOTAS, type XenstoreQuotas } from "./quota.ts";
import { restoreEntries } from "./snapshot.ts";
import type { SpecialName } from "./special.ts";
import { Tree } from "./tree.ts";
import { createDirectView, type View } from "./view.ts";
import { WatchTable } from "./watches.ts";

/** WATCH may carry a depth (bit 2 of docs/misc/xenstore-ring.txt, which has no name in `io/xs_wire.h` of 4.17). */
export const XENSTORE_FEATURE_WATCH_DEPTH = 4;

/** Everything that the ring can be asked for: reconnection, the error field, watches with a depth. */
export const ALL_FEATURES: number =
  XENSTORE_FEATURE.RECONNECTION | XENSTORE_FEATURE.ERROR | XENSTORE_FEATURE_WATCH_DEPTH;

/** What a ring of a domain looks like from the store. */
export interface DomainRing {
  /** Takes the ring out of service; the page isn't touched any more. */
  close(): void;
}

/** What the store keeps of one domain. */
export interface DomainState {
  readonly domid: number;
  readonly caller: Caller & { target: number | undefined };
  watches: number;
  transactions: number;
  /** Differences from the store's quotas. */
  ownQuotas: Partial<XenstoreQuotas>;
  /** What holds for the domain, both put together; see {@link StoreState.setQuota}. */
  quotas: XenstoreQuotas;
  features: number;
  ring: DomainRing | undefined;
}

const DOM0_ALONE: Permissions = [{ domid: 0, read: false, write: false }];

/** The state of one store: the tree, the watches, and what is known of domains. */
export class StoreState {
  readonly tree: Tree = Tree.create(DOM0_ALONE);
  readonly watches: WatchTable = new WatchTable();
  readonly recorder: Recorder;
  readonly direct: View;
  readonly specials: Map<SpecialName, Permissions> = new Map([
    ["@introduceDomain", DOM0_ALONE],
    ["@releaseDomain", DOM0_ALONE],
  ]);
  quotas: XenstoreQuotas;
  /** Of {@link StoreState.quotas} those that were set while the store ran. */
  readonly setQuotas: Map<keyof XenstoreQuotas, number> = new Map();
  readonly #domains = new Map<number, DomainState>();
  #watchSequence = 0;

  /** Makes the state that `entries` of an earlier journal tell; without any, the nodes that Xen's xenstored starts with. */
  constructor(quotas: Partial<XenstoreQuotas>, journal?: XenstoreJournal, entries: Iterable<Uint8Array> = []) {
    this.recorder = new Recorder(journal);
    this.direct = createDirectView(
      this.tree,
      (event) => this.watches.fire(event),
      (change) => this.recorder.record(change),
    );
    const restored = restoreEntries(this, entries);
    this.quotas = { ...DEFAULT_QUOTAS, ...quotas, ...Object.fromEntries(this.setQuotas) };
    if (restored > 0) return;
    this.recorder.operation(() => {
      for (const path of ["/tool", "/tool/xenstored"]) {
        this.direct.apply({ kind: "create", path, value: new Uint8Array(0), permissions: DOM0_ALONE, implied: false });
      }
    });
  }

  /** The domain's state, made at first use. */
  domain(domid: number): DomainState {
    let domain = this.#domains.get(domid);
    if (domain === undefined) {
      const caller = { domid, privileged: domid === 0, target: undefined };
      domain = {
        domid,
        caller,
        watches: 0,
        transactions: 0,
        ownQuotas: {},
        quotas: this.quotas,
        features: ALL_FEATURES,
        ring: undefined,
      };
      this.#domains.set(domid, domain);
    }
    return domain;
  }

  /** The domain's state, if it has any. */
  knownDomain(domid: number): DomainState | undefined {
    return this.#domains.get(domid);
  }

  /** Sets one domain's quota, or the store's own for all domains that have none of their own. */
  setQuota(domid: number | undefined, quota: keyof XenstoreQuotas, value: number): void {
    if (domid === undefined) {
      this.quotas = { ...this.quotas, [quota]: value };
      this.setQuotas.set(quota, value);
      this.recorder.record({ kind: "quota", quota, limit: value });
    } else {
      const domain = this.domain(domid);
      domain.ownQuotas = { ...domain.ownQuotas, [quota]: value };
    }
    for (const domain of this.#domains.values()) domain.quotas = { ...this.quotas, ...domain.ownQuotas };
  }

  /** Says who may hear of domains that come, or go. */
  setSpecial(name: SpecialName, permissions: Permissions): void {
    this.specials.set(name, permissions);
    this.recorder.record({ kind: "special", name, permissions });
  }

  nextWatchSequence(): number {
    return this.#watchSequence++;
  }

  fireSpecial(name: SpecialName, domid: number): void {
    this.watches.fireSpecial({ path: name, exact: true, readers: [this.specials.get(name)!] }, domid);
  }

  /** Takes a domain's ring away, and with it everything that is the domain's own (xenstore.txt, permissions). */
  removeDomain(domid: number): boolean {
    const domain = this.#domains.get(domid);
    if (domain?.ring === undefined) return false;
    domain.ring.close();
    domain.ring = undefined;
    for (const other of this.#domains.values()) if (other.caller.target === domid) other.caller.target = undefined;
    this.recorder.operation(() => this.#removeOwned("/", domid));
    this.#domains.delete(domid);
    this.fireSpecial("@releaseDomain", domid);
    return true;
  }

  #removeOwned(path: string, domid: number): void {
    if (this.tree.ownedBy(domid) === 0) return;
    for (const [name, child] of [...(this.tree.get(path)?.children ?? [])]) {
      const below = path === "/" ? `/${name}` : `${path}/${name}`;
      if (child.permissions[0]!.domid === domid) this.direct.apply({ kind: "remove", path: below });
      else this.#removeOwned(below, domid);
    }
  }
}
