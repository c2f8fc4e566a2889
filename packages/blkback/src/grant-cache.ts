import type { GrantedPage, GuestPort } from "@paravirt/xenbus";

/** A page of the guest for as long as one request needs it. */
export interface HeldPage {
  /** Its bytes. */
  readonly bytes: Uint8Array;
  /** Ends the request's use of it; `written` says that the host wrote to it. */
  drop(written: boolean): void;
}

/**
 * The pages of one ring. A frontend that promises to use the same grants again (`feature-persistent`) has them kept
 * mapped, at most `limit`; the one that wasn't used for longest goes first. Others are mapped for one request each.
 */
export class GrantCache {
  readonly #guest: GuestPort;
  readonly #limit: number;
  /** By grant; the least recently used first. */
  readonly #kept = new Map<number, KeptPage>();

  constructor(guest: GuestPort, limit: number) {
    this.#guest = guest;
    this.#limit = limit;
  }

  /** Pages that stay mapped. */
  get kept(): number {
    return this.#kept.size;
  }

  /** Maps a page for one request; `undefined` when the guest didn't grant it, or not all of it. */
  take(grant: number, readOnly: boolean): HeldPage | undefined {
    if (this.#limit === 0) return this.#mapOnce(grant, readOnly);
    const kept = this.#kept.get(grant);
    if (kept !== undefined) {
      // Back to the end of the order.
      this.#kept.delete(grant);
      this.#kept.set(grant, kept);
      kept.users++;
      return kept;
    }
    if (!this.#makeRoom()) return this.#mapOnce(grant, readOnly);
    // Later requests may use the page in the other direction; a grant for reading only is good for one request.
    const page = this.#guest.mapGrant(grant);
    if (typeof page === "number") return readOnly ? this.#mapOnce(grant, true) : undefined;
    if (page.bytes.length !== PAGE) {
      page.release();
      return undefined;
    }
    const made = new KeptPage(page);
    this.#kept.set(grant, made);
    return made;
  }

  /** Gives all pages back. No request may hold one. */
  clear(): void {
    for (const { page } of this.#kept.values()) page.release();
    this.#kept.clear();
  }

  #makeRoom(): boolean {
    if (this.#kept.size < this.#limit) return true;
    for (const [grant, kept] of this.#kept) {
      if (kept.users > 0) continue;
      kept.page.release();
      this.#kept.delete(grant);
      return true;
    }
    return false;
  }

  #mapOnce(grant: number, readOnly: boolean): HeldPage | undefined {
    const page = this.#guest.mapGrant(grant, { readOnly });
    if (typeof page === "number") return undefined;
    if (page.bytes.length === PAGE) return new OncePage(page);
    page.release();
    return undefined;
  }
}

const PAGE = 4096;

class KeptPage implements HeldPage {
  readonly page: GrantedPage;
  readonly bytes: Uint8Array;
  users = 1;

  constructor(page: GrantedPage) {
    this.page = page;
    this.bytes = page.bytes;
  }

  drop(written: boolean): void {
    this.users--;
    if (written) this.page.written();
  }
}

class OncePage implements HeldPage {
  readonly #page: GrantedPage;
  readonly bytes: Uint8Array;

  constructor(page: GrantedPage) {
    this.#page = page;
    this.bytes = page.bytes;
  }

  /** Releasing says of a writable page that it was written. */
  drop(): void {
    this.#page.release();
  }
}
