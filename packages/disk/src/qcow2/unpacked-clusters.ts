import { type Steps, settled } from "../answer.ts";
import type { BlockFile } from "../block-file.ts";
import { type Codecs, unpackCluster } from "./codecs.ts";
import type { Qcow2Header } from "./header.ts";

/** Bytes of unpacked clusters that are kept. */
const KEPT_BYTES = 4 << 20;

/** Compressed clusters, unpacked; the last ones that were read are kept, since reads are smaller than clusters. */
export class UnpackedClusters {
  readonly #file: BlockFile;
  readonly #codecs: Codecs | undefined;
  readonly #compression: Qcow2Header["compression"];
  readonly #clusterSize: number;
  /** By their offset in the file. */
  readonly #kept = new Map<number, Uint8Array>();

  constructor({
    file,
    codecs,
    header,
  }: {
    readonly file: BlockFile;
    readonly codecs: Codecs | undefined;
    readonly header: Qcow2Header;
  }) {
    this.#file = file;
    this.#codecs = codecs;
    this.#compression = header.compression;
    this.#clusterSize = 2 ** header.clusterBits;
  }

  /** The bytes of the cluster that lies packed at `offset`. */
  *get({ offset, length }: { readonly offset: number; readonly length: number }): Steps<Uint8Array> {
    const known = this.#kept.get(offset);
    if (known !== undefined) return known;
    const packed = new Uint8Array(length);
    yield* settled(this.#file.read(offset, [packed]));
    const bytes = yield* settled(unpackCluster(this.#codecs, this.#compression, packed, this.#clusterSize));
    while (this.#kept.size > 0 && (this.#kept.size + 1) * this.#clusterSize > KEPT_BYTES)
      this.#kept.delete(this.#kept.keys().next().value!);
    this.#kept.set(offset, bytes);
    return bytes;
  }

  /** What lies at `offset` is given up. */
  forget(offset: number): void {
    this.#kept.delete(offset);
  }
}
