// A guest of plain memory for tests of backends: it counts everything that is taken and given back.
import type { GrantedPage, GuestPort } from "../src/device.ts";

const GNTST_GENERAL_ERROR = -1;
const EINVAL = -22;

/** What a guest granted to domain 0: a page, or a part of one. */
export interface FakeGrant {
  readonly bytes: Uint8Array;
  /** It can't be mapped for writing. */
  readonly readOnly?: boolean;
}

/** Grants, event channels and turns. Turns pass when a test says so. */
export class FakeGuest implements GuestPort {
  readonly domid = 1 as GuestPort["domid"];
  readonly grants = new Map<number, FakeGrant>();
  /** Ports that the guest allocated for domain 0 and nobody has bound. */
  readonly unbound = new Set<number>();
  /** What listens to bound ports. */
  readonly listeners = new Map<number, () => void>();
  /** How often the guest was signalled, by port. */
  readonly signals = new Map<number, number>();
  /** Mappings that weren't released, by grant; those of grants that were taken back too. */
  readonly #held = new Map<number, number>();
  /** How often a grant was mapped. */
  maps = 0;
  /** Grants of pages that the backend said it wrote to. */
  readonly told = new Set<number>();
  /** Called before each mapping, so that a test can take grants back in the middle of things. */
  onMap: (ref: number) => void = () => {};
  #turn: (() => void)[] = [];
  #next = 8;

  /** Grants some bytes; answers the reference. */
  grant(bytes: Uint8Array, readOnly = false): number {
    const ref = this.#next++;
    this.grants.set(ref, { bytes, readOnly });
    return ref;
  }

  /** Allocates a port for domain 0. */
  channel(): number {
    const port = this.#next++;
    this.unbound.add(port);
    return port;
  }

  mapGrant(ref: number, { readOnly = false }: { readonly readOnly?: boolean } = {}): GrantedPage | number {
    this.onMap(ref);
    const grant = this.grants.get(ref);
    if (grant === undefined || (grant.readOnly === true && !readOnly)) return GNTST_GENERAL_ERROR;
    this.#hold(ref, 1);
    this.maps++;
    let held = true;
    const written = (): void => {
      this.told.add(ref);
    };
    return {
      bytes: grant.bytes,
      readOnly,
      written,
      release: () => {
        if (!held) return;
        held = false;
        this.#hold(ref, -1);
        if (!readOnly) written();
      },
    };
  }

  #hold(ref: number, change: number): void {
    const held = (this.#held.get(ref) ?? 0) + change;
    if (held === 0) this.#held.delete(ref);
    else this.#held.set(ref, held);
  }

  bindEventChannel(port: number, listener: () => void): { notify(): void; close(): void } | number {
    if (!this.unbound.delete(port)) return EINVAL;
    this.listeners.set(port, listener);
    this.later(listener);
    return {
      notify: () => {
        this.signals.set(port, (this.signals.get(port) ?? 0) + 1);
      },
      close: () => {
        if (this.listeners.get(port) !== listener) return;
        this.listeners.delete(port);
        this.unbound.add(port);
      },
    };
  }

  later(work: () => void): void {
    this.#turn.push(work);
  }

  /** Signals the backend, as the guest's hypercall does. */
  signal(port: number): void {
    const listener = this.listeners.get(port);
    if (listener !== undefined) this.later(listener);
  }

  /** One turn of the machine; answers whether there was anything to do. */
  turn(): boolean {
    const work = this.#turn;
    this.#turn = [];
    for (const one of work) one();
    return work.length > 0;
  }

  /** Turns until nothing is waiting; answers how many that took. */
  run(limit = 1000): number {
    for (let turns = 0; turns < limit; turns++) if (!this.turn()) return turns;
    throw new Error("the backend never comes to an end");
  }

  /** Turns until nothing more happens, promises included. */
  async settle(limit = 100_000): Promise<void> {
    let turns = 0;
    for (let quiet = 0; quiet < 3; ) {
      if (turns++ > limit) throw new Error("the backend never comes to an end");
      await new Promise((resolve) => setImmediate(resolve));
      quiet = this.turn() ? 0 : quiet + 1;
    }
  }

  /** Mappings that weren't released. */
  get mapped(): number {
    return [...this.#held.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Mappings of one grant that weren't released. */
  mappedOf(ref: number): number {
    return this.#held.get(ref) ?? 0;
  }
}
