import { ParavirtError } from "@paravirt/core";
import { type Ipv4, type Ipv4Network, isInNetwork, readIpv4Network } from "../addresses.ts";

/** Where a guest may connect to: addresses or one name, and ports. */
export interface AllowRule {
  /** The text that it was read from. */
  readonly text: string;
  /** Addresses; `undefined` for a rule about a name. */
  readonly network: Ipv4Network | undefined;
  /** A name in lower case; `undefined` for a rule about addresses. */
  readonly name: string | undefined;
  /** The first port. */
  readonly lowPort: number;
  /** The last port. */
  readonly highPort: number;
}

const EVERYWHERE: Ipv4Network = { address: 0, bits: 0 };
const NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

/**
 * Reads a rule: `*`, `192.168.0.0/16`, `192.168.1.7:22`, `deb.debian.org:80`, `example.org:8000-8999`, `*:443`. Without a port
 * it is about all ports. Throws `BAD_ARGUMENT` for anything else.
 */
export function parseAllowRule(text: string): AllowRule {
  const [where, ports, ...rest] = text.split(":");
  if (rest.length > 0) throw bad(text);
  const range = ports === undefined ? [0, 65535] : portRange(ports, text);
  const place = where!.toLowerCase();
  const network = place === "*" ? EVERYWHERE : readIpv4Network(place);
  // What looks like an address and isn't one is a slip rather than a name.
  if (network === undefined && (!NAME.test(place) || /^[\d.]+$/.test(place))) throw bad(text);
  return { text, network, name: network === undefined ? place : undefined, lowPort: range[0]!, highPort: range[1]! };
}

function portRange(ports: string, text: string): readonly [number, number] {
  const [low, high = low] = ports.split("-");
  if (!/^\d{1,5}(-\d{1,5})?$/.test(ports)) throw bad(text);
  const range = [Number(low), Number(high)] as const;
  if (range[0] < 1 || range[1] > 65535 || range[0] > range[1])
    throw new ParavirtError("BAD_ARGUMENT", `${text}: ports are 1 to 65535, the lower first`);
  return range;
}

function bad(text: string): ParavirtError {
  return new ParavirtError("BAD_ARGUMENT", `${text} is not HOST[:PORT], an IPv4 network CIDR[:PORT] or *[:PORT]`);
}

/** Addresses that are remembered for a name. */
const MAX_ADDRESSES = 256;
/** Guests keep an address for longer than a resolver's answer is good. */
const LEAST_LIFE = 10 * 60 * 1000;

/** What a guest may connect to. Names are matched by the addresses that the guest was told for them. */
export class AllowList {
  readonly #rules: readonly AllowRule[];
  /** For each name of a rule, when its addresses are forgotten. */
  readonly #addresses = new Map<string, Map<Ipv4, number>>();
  /** Whether any address may be reached, so that any name may be asked for. */
  readonly resolvesAll: boolean;

  constructor(rules: readonly AllowRule[]) {
    this.#rules = rules;
    this.resolvesAll = rules.some((rule) => rule.network !== undefined);
    for (const { name } of rules) if (name !== undefined) this.#addresses.set(name, new Map());
  }

  /** Whether the guest may ask the outside for `name`. */
  mayResolve(name: string): boolean {
    return this.resolvesAll || this.#addresses.has(name);
  }

  /** The guest was told that `name` is at `address`, for so many milliseconds. */
  learn(name: string, address: Ipv4, now: number, life: number): void {
    const addresses = this.#addresses.get(name);
    if (addresses === undefined) return;
    const until = now + Math.max(life, LEAST_LIFE);
    addresses.delete(address);
    addresses.set(address, until);
    if (addresses.size > MAX_ADDRESSES) addresses.delete(addresses.keys().next().value!);
  }

  /** Whether the guest may send to a port. */
  allows(address: Ipv4, port: number, now: number): boolean {
    return this.#rules.some(({ network, name, lowPort, highPort }) => {
      if (port < lowPort || port > highPort) return false;
      if (network !== undefined) return isInNetwork(address, network);
      const until = this.#addresses.get(name!)?.get(address);
      return until !== undefined && until > now;
    });
  }
}
