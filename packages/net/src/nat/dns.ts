import { type Ipv4, readIpv4 } from "../addresses.ts";
import { getWord, putWord } from "../bytes.ts";
import type { HostDatagrams, NetworkHost } from "../network-host.ts";
import type { AllowList } from "./allow-list.ts";
import {
  addressRecords,
  answersQuestion,
  decodeQuestion,
  encodeAnswer,
  encodeFormatError,
  isAddressQuestion,
  type Question,
  RCODE,
  RECORD,
} from "./dns-message.ts";

/** What the forwarder works with. */
export interface DnsOptions {
  readonly host: NetworkHost;
  readonly allow: AllowList;
  /** What stands for the host's own loopback. */
  readonly gateway: Ipv4;
}

const PORT = 53;
/** Queries that wait for an answer; another one is refused. */
const MAX_WAITING = 256;
/** Milliseconds for an answer of one resolver; guests ask again after 5 s themselves. */
const PATIENCE = 3000;

/**
 * The network's name server: answers from the host's own table, and forwards the rest to the host's resolvers, as far as the
 * allow-list could make use of an answer. What it doesn't forward it refuses.
 */
export class DnsForwarder {
  readonly #options: DnsOptions;
  readonly #waiting = new Set<() => void>();

  constructor(options: DnsOptions) {
    this.#options = options;
  }

  /** Handles a query; `answer` is called at most once. */
  receive(query: Uint8Array, answer: (message: Uint8Array) => void): void {
    const question = decodeQuestion(query);
    if (question === undefined) {
      const refusal = encodeFormatError(query);
      if (refusal !== undefined) answer(refusal);
      return;
    }
    const own = this.#ownAnswer(query, question);
    if (own !== undefined) {
      answer(own);
      return;
    }
    const servers = this.#options.host.nameServers();
    if (servers.length === 0) answer(encodeAnswer(query, question.end, RCODE.failure));
    else if (this.#waiting.size >= MAX_WAITING) answer(encodeAnswer(query, question.end, RCODE.refused));
    else this.#forward(query.slice(), question, servers, answer);
  }

  /** What is answered without asking the outside; `undefined` when the question may be forwarded. */
  #ownAnswer(query: Uint8Array, question: Question): Uint8Array | undefined {
    const { host, allow, gateway } = this.#options;
    const local = isAddressQuestion(question) ? host.localAddresses(question.name) : [];
    if (local.length > 0) {
      const addresses = new Set<Ipv4>();
      for (const text of local) {
        const address = readIpv4(text);
        if (address !== undefined) addresses.add(address >>> 24 === 127 ? gateway : address);
      }
      for (const address of addresses) allow.learn(question.name, address, host.now(), 0);
      return encodeAnswer(query, question.end, RCODE.ok, question.type === RECORD.aaaa ? [] : [...addresses]);
    }
    return allow.mayResolve(question.name) ? undefined : encodeAnswer(query, question.end, RCODE.refused);
  }

  /** Gives up what waits. */
  close(): void {
    for (const stop of [...this.#waiting]) stop();
  }

  #forward(
    query: Uint8Array,
    question: Question,
    servers: readonly string[],
    answer: (message: Uint8Array) => void,
  ): void {
    const { host, allow, gateway } = this.#options;
    const identification = getWord(query, 0);
    // The guest's number may be guessed by others, and two guests may use the same.
    const ours = host.random() & 0xffff;
    putWord(query, 0, ours);
    let datagrams: HostDatagrams | undefined;
    let cancel = (): void => {};
    const stop = (): void => {
      cancel();
      datagrams?.close();
      this.#waiting.delete(stop);
    };
    const finish = (message: Uint8Array): void => {
      stop();
      putWord(message, 0, identification);
      answer(message);
    };
    const ask = (index: number): void => {
      cancel();
      datagrams?.close();
      const server = servers[index];
      if (server === undefined) {
        finish(encodeAnswer(query, question.end, RCODE.failure));
        return;
      }
      const opened = host.openDatagrams(server, PORT, {
        onMessage: (bytes) => {
          if (datagrams !== opened || bytes.length < 2 || getWord(bytes, 0) !== ours) return;
          if (!answersQuestion(bytes, question)) return;
          const now = host.now();
          // An outside server doesn't open the host's loopback by naming what stands for it.
          for (const { address, seconds } of addressRecords(bytes, question))
            if (address !== gateway) allow.learn(question.name, address, now, seconds * 1000);
          finish(bytes.slice());
        },
        onUnreachable: () => {
          if (datagrams === opened) ask(index + 1);
        },
      });
      datagrams = opened;
      cancel = host.after(PATIENCE, () => ask(index + 1));
      opened.send(query);
    };
    this.#waiting.add(stop);
    ask(0);
  }
}
