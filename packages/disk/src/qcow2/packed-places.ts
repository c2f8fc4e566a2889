import type { Steps } from "../answer.ts";
import type { Refcounts } from "./refcounts.ts";

/** Where compressed clusters go: one behind the other, so that several share a cluster of the file. */
export class PackedPlaces {
  readonly #refcounts: Refcounts;
  readonly #clusterSize: number;
  /** Where the next one begins, and how much room the file's cluster there still has. */
  #next = { at: 0, room: 0 };

  constructor(refcounts: Refcounts, clusterSize: number) {
    this.#refcounts = refcounts;
    this.#clusterSize = clusterSize;
  }

  /** Finds a place for packed data: behind the last, in as many of the file's clusters as it takes, each with one use more. */
  *place(length: number): Steps<number> {
    const { at, room } = this.#next;
    const host = Math.floor(at / this.#clusterSize);
    const canShare = room > 0 && (yield* this.#refcounts.get(host)) < this.#refcounts.max;
    if (canShare && length <= room) {
      yield* this.#refcounts.set(host, (yield* this.#refcounts.get(host)) + 1);
      this.#next = { at: at + length, room: room - length };
      return at;
    }
    const { first } = yield* this.#refcounts.allocate(1);
    if (canShare && first === host + 1) {
      yield* this.#refcounts.set(host, (yield* this.#refcounts.get(host)) + 1);
      this.#next = { at: at + length, room: this.#clusterSize - (length - room) };
      return at;
    }
    this.#next = { at: first * this.#clusterSize + length, room: this.#clusterSize - length };
    return first * this.#clusterSize;
  }

  /** Nobody uses the file's cluster any more: nothing is put into the rest of it. */
  freed(cluster: number): void {
    if (Math.floor(this.#next.at / this.#clusterSize) === cluster) this.#next = { at: 0, room: 0 };
  }
}
