import { decodeMessage, encodeMessage, type P9Fields, type P9Message, type P9MessageName } from "../src/codec.ts";
import { LINUX_ERRNO } from "../src/errno.ts";
import { NO_FID, NO_TAG } from "../src/flags.ts";
import type { P9Connection } from "../src/link.ts";

/** A request under way: its tag, and its answer when that comes. */
export interface Sent {
  readonly tag: number;
  readonly answer: Promise<P9Message>;
  /** Whether the answer is there. */
  readonly answered: () => boolean;
}

type AnswerOf<Name extends P9MessageName> = Name extends `T${infer Rest}`
  ? `R${Rest}` extends P9MessageName
    ? `R${Rest}`
    : never
  : never;

/** A client for tests, of the least comfort: numbers in, fields out, errors by their names. */
export class TestClient {
  readonly connection: P9Connection;
  #tag = 0;

  constructor(connection: P9Connection) {
    this.connection = connection;
  }

  /** A client that has agreed on a version, with the root as fid 0. */
  static async attached(connection: P9Connection, msize = 65536): Promise<TestClient> {
    const client = new TestClient(connection);
    await client.send("Tversion", { msize, version: "9P2000.L" }, NO_TAG).answer;
    await client.ask("Tattach", { fid: 0, afid: NO_FID, uname: "", aname: "", uid: 0 });
    return client;
  }

  send<Name extends P9MessageName>(name: Name, fields: P9Fields<Name>, tag: number = this.#tag++ & 0x7fff): Sent {
    let there = false;
    const answer = new Promise<P9Message>((resolve, reject) => {
      void this.connection.receive(encodeMessage(name, tag, fields), (response) => {
        there = true;
        const decoded = decodeMessage(response);
        if (decoded === undefined) reject(new Error(`an answer that can't be decoded: ${response}`));
        else if (decoded.tag !== tag) reject(new Error(`tag ${decoded.tag} for ${tag}`));
        else resolve(decoded);
      });
    });
    return { tag, answer, answered: () => there };
  }

  /** Asks and answers the fields; an error is thrown as an `Error` with the errno's name. */
  async ask<Name extends P9MessageName>(name: Name, fields: P9Fields<Name>): Promise<P9Fields<AnswerOf<Name>>> {
    const answer = await this.send(name, fields).answer;
    if (answer.name === "Rlerror") throw new Error(errnoName(answer.fields.ecode));
    if (answer.name !== `R${name.slice(1)}`) throw new Error(`${answer.name} for ${name}`);
    return answer.fields as P9Fields<AnswerOf<Name>>;
  }

  /** The name of the error that a request ends with, or the answer's name. */
  async outcome<Name extends P9MessageName>(name: Name, fields: P9Fields<Name>): Promise<string> {
    const answer = await this.send(name, fields).answer;
    return answer.name === "Rlerror" ? errnoName(answer.fields.ecode) : answer.name;
  }

  /** Walks from fid 0 to `path` as fid `fid`. */
  async walk(fid: number, path: string, from = 0): Promise<void> {
    const names = path.split("/").filter((name) => name !== "");
    const { qids } = await this.ask("Twalk", { fid: from, newfid: fid, names });
    if (qids.length < names.length) throw new Error("ENOENT");
  }

  async open(fid: number, path: string, flags = 0): Promise<void> {
    await this.walk(fid, path);
    await this.ask("Tlopen", { fid, flags });
  }

  async create(fid: number, folder: string, name: string, flags = 2, mode = 0o644): Promise<void> {
    await this.walk(fid, folder);
    await this.ask("Tlcreate", { fid, name, flags, mode, gid: 0 });
  }

  async clunk(fid: number): Promise<void> {
    await this.ask("Tclunk", { fid });
  }

  async read(fid: number, offset = 0, count = 32768): Promise<Uint8Array> {
    return (await this.ask("Tread", { fid, offset: BigInt(offset), count })).data;
  }

  async write(fid: number, data: Uint8Array | string, offset = 0): Promise<number> {
    const raw = typeof data === "string" ? new TextEncoder().encode(data) : data;
    return (await this.ask("Twrite", { fid, offset: BigInt(offset), data: raw })).count;
  }

  /** All names in an open folder, in pieces of at most `count` bytes. */
  async names(fid: number, count = 8192): Promise<string[]> {
    const names: string[] = [];
    for (let offset = 0n; ; ) {
      const { data } = await this.ask("Treaddir", { fid, offset, count });
      if (data.length === 0) return names;
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
      for (let at = 0; at < data.length; ) {
        const length = view.getUint16(at + 22, true);
        names.push(new TextDecoder().decode(data.subarray(at + 24, at + 24 + length)));
        offset = view.getBigUint64(at + 13, true);
        at += 24 + length;
      }
    }
  }
}

function errnoName(errno: number): string {
  return Object.entries(LINUX_ERRNO).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
}
