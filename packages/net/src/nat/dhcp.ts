import type { Ipv4 } from "../addresses.ts";
import { getLong, getWord, putLong, putWord } from "../bytes.ts";

/** What guests are told, and which addresses there are. */
export interface DhcpOptions {
  readonly gateway: Ipv4;
  readonly mask: Ipv4;
  readonly dns: Ipv4;
  /** Addresses that are given away, from the first to the last. */
  readonly first: Ipv4;
  readonly last: Ipv4;
  /** The MTU, if it isn't Ethernet's usual one. */
  readonly mtu: number | undefined;
  /** Domain for names without a dot. */
  readonly domain: string | undefined;
}

/** An answer to a guest: a UDP payload from port 67 to port 68. */
export interface DhcpReply {
  readonly bytes: Uint8Array;
  /** Where it goes: the guest's address, or the broadcast address for a guest that can't take anything else yet. */
  readonly destination: Ipv4;
  /** The guest's Ethernet address. */
  readonly mac: Uint8Array;
}

const HEADER = 236;
const COOKIE = 0x63825363;
const LEASE_SECONDS = 24 * 3600;
const MESSAGE = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, release: 7, inform: 8 } as const;
const OPTION = {
  mask: 1,
  router: 3,
  dns: 6,
  domain: 15,
  mtu: 26,
  requested: 50,
  lease: 51,
  message: 53,
  server: 54,
  end: 255,
} as const;
const BROADCAST = 0xffffffff;

/** A DHCP server (RFC 2131). A guest keeps its address for as long as the network lives, known by its Ethernet address. */
export class DhcpServer {
  readonly #options: DhcpOptions;
  readonly #leases = new Map<string, Ipv4>();
  readonly #taken = new Set<Ipv4>();

  constructor(options: DhcpOptions) {
    this.#options = options;
  }

  /** Handles a message to port 67; answers what is to be sent, if anything. */
  receive(message: Uint8Array): DhcpReply | undefined {
    const isRequest = message.length >= HEADER + 4 && message[0] === 1 && message[1] === 1 && message[2] === 6;
    if (!isRequest || getLong(message, HEADER) !== COOKIE) return undefined;
    const options = decodeOptions(message);
    const kind = options.get(OPTION.message)?.[0];
    const mac = message.slice(28, 34);
    if ((mac[0]! & 1) !== 0) return undefined;
    const server = addressIn(options, OPTION.server);
    const isOurs = server === undefined || server === this.#options.gateway;
    const client = getLong(message, 12);
    switch (kind) {
      case MESSAGE.discover: {
        const address = this.#lease(mac);
        return address === undefined ? undefined : this.#reply(message, MESSAGE.offer, mac, address);
      }
      case MESSAGE.request: {
        if (!isOurs) return undefined;
        const wanted = addressIn(options, OPTION.requested) ?? client;
        const address = this.#lease(mac);
        if (address === undefined || wanted !== address) return this.#reply(message, MESSAGE.nak, mac, 0);
        return this.#reply(message, MESSAGE.ack, mac, address);
      }
      case MESSAGE.inform:
        return this.#reply(message, MESSAGE.ack, mac, 0);
      case MESSAGE.release:
        if (isOurs) this.#leases.delete(String(mac));
        return undefined;
      case MESSAGE.decline: {
        // Somebody else has it: it stays taken, and the guest gets another one.
        const declined = this.#leases.get(String(mac));
        if (isOurs && declined !== undefined) {
          this.#leases.delete(String(mac));
          this.#taken.add(declined);
        }
        return undefined;
      }
      default:
        return undefined;
    }
  }

  #lease(mac: Uint8Array): Ipv4 | undefined {
    const key = String(mac);
    const known = this.#leases.get(key);
    if (known !== undefined) return known;
    const { first, last } = this.#options;
    const used = new Set(this.#leases.values());
    for (let address = first; address <= last; address++) {
      if (used.has(address) || this.#taken.has(address)) continue;
      this.#leases.set(key, address);
      return address;
    }
    return undefined;
  }

  #reply(request: Uint8Array, kind: number, mac: Uint8Array, address: Ipv4): DhcpReply {
    const { gateway, mask, dns, mtu, domain } = this.#options;
    const bytes = new Uint8Array(HEADER + 4 + 64 + (domain?.length ?? 0));
    bytes.set(request.subarray(0, 3), 0);
    bytes[0] = 2;
    bytes.set(request.subarray(4, 8), 4);
    putWord(bytes, 10, getWord(request, 10));
    const client = getLong(request, 12);
    if (kind !== MESSAGE.nak) putLong(bytes, 12, client);
    putLong(bytes, 16, address);
    putLong(bytes, 20, gateway);
    bytes.set(request.subarray(28, 44), 28);
    putLong(bytes, HEADER, COOKIE);
    let at = HEADER + 4;
    const option = (code: number, length: number): number => {
      bytes[at] = code;
      bytes[at + 1] = length;
      at += 2 + length;
      return at - length;
    };
    const long = (code: number, value: number): void => putLong(bytes, option(code, 4), value);
    bytes[option(OPTION.message, 1)] = kind;
    long(OPTION.server, gateway);
    if (kind !== MESSAGE.nak) {
      if (address !== 0) long(OPTION.lease, LEASE_SECONDS);
      long(OPTION.mask, mask);
      long(OPTION.router, gateway);
      long(OPTION.dns, dns);
      if (mtu !== undefined) putWord(bytes, option(OPTION.mtu, 2), mtu);
      if (domain !== undefined && domain.length > 0 && domain.length < 256) {
        const from = option(OPTION.domain, domain.length);
        for (let index = 0; index < domain.length; index++) bytes[from + index] = domain.charCodeAt(index);
      }
    }
    bytes[at] = OPTION.end;
    // RFC 2131 4.1: to an address the guest has, by broadcast if it asks for that or gets a refusal, else to what it will have.
    const wantsBroadcast = (getWord(request, 10) & 0x8000) !== 0 || kind === MESSAGE.nak;
    const destination = wantsBroadcast ? BROADCAST : client !== 0 ? client : address;
    return { bytes, destination: destination === 0 ? BROADCAST : destination, mac };
  }
}

function decodeOptions(message: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (let at = HEADER + 4; at + 1 < message.length && message[at] !== OPTION.end; ) {
    const code = message[at]!;
    if (code === 0) {
      at++;
      continue;
    }
    const end = at + 2 + message[at + 1]!;
    if (end > message.length) break;
    options.set(code, message.slice(at + 2, end));
    at = end;
  }
  return options;
}

function addressIn(options: ReadonlyMap<number, Uint8Array>, code: number): Ipv4 | undefined {
  const value = options.get(code);
  return value?.length === 4 ? getLong(value, 0) : undefined;
}
