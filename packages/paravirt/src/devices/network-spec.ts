import { parseAllowRule } from "@paravirt/net";
import { parseVifRate, type VifRate } from "@paravirt/netback";
import { UsageError } from "../usage-error.ts";

/** What a card is plugged into. */
export type NetworkKind = "user" | "hub" | "passt";

/** A network card as `--net` asks for it. */
export interface NetworkSpec {
  readonly kind: NetworkKind;
  /** The socket of a hub or of passt. */
  readonly socket?: string;
  /** Where a user network lets the guest connect to. */
  readonly allow: readonly string[];
  /** A file for all frames. */
  readonly pcap?: string;
  readonly mac?: string;
  readonly mtu?: number;
  readonly rate?: VifRate;
  /** The guest's address on a hub, `192.168.7.2/24`. */
  readonly address?: string;
  /** Whether the guest may send from its own Ethernet address (and address) only. */
  readonly filter?: boolean;
}

/** A port that `--publish` opens. */
export interface PublishSpec {
  readonly address?: string;
  readonly hostPort: number;
  readonly guestPort: number;
  readonly protocol: "tcp" | "udp";
}

/** How `--net` is written. */
export const NETWORK_SYNTAX =
  "none|user[,allow=HOST[:PORT]|CIDR|*]|hub:SOCKET[,address=CIDR][,filter]|passt:SOCKET[,pcap=FILE][,mac=MAC][,mtu=N][,rate=R]";

/**
 * Reads all `--net`. Those of kind `user` are one network, since all of them would have the same addresses: their allow-lists
 * add up. Throws {@link UsageError}.
 */
export function parseNetworks(texts: readonly string[]): readonly NetworkSpec[] {
  if (texts.includes("none")) {
    if (texts.length > 1) throw new UsageError("--net none doesn't go with another --net");
    return [];
  }
  const specs: NetworkSpec[] = [];
  for (const spec of texts.map(parseNetwork)) {
    const index = specs.findIndex(({ kind }) => kind === "user" && spec.kind === "user");
    if (index < 0) specs.push(spec);
    else specs[index] = { ...specs[index]!, ...spec, allow: [...specs[index]!.allow, ...spec.allow] };
  }
  return specs;
}

function parseNetwork(text: string): NetworkSpec {
  const refuse = (why: string): UsageError => new UsageError(`--net ${text}: ${why}`);
  const [where = "", ...words] = text.split(",");
  const colon = where.indexOf(":");
  const kind = colon < 0 ? where : where.slice(0, colon);
  const socket = colon < 0 ? undefined : where.slice(colon + 1);
  if (kind !== "user" && kind !== "hub" && kind !== "passt") throw refuse(`"${kind}" is no network: ${NETWORK_SYNTAX}`);
  if (kind === "user" && socket !== undefined) throw refuse("a user network has no socket");
  if (kind !== "user" && (socket === undefined || socket === ""))
    throw refuse(`${kind}:SOCKET, the path of a unix socket`);
  const allow: string[] = [];
  const values = new Map<string, string>();
  let filter = false;
  for (const word of words) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const value = equals < 0 ? "" : word.slice(equals + 1);
    if (word === "filter") {
      if (kind !== "hub") throw refuse("filter is for a hub");
      filter = true;
      continue;
    }
    if (!["allow", "pcap", "mac", "mtu", "rate", "address"].includes(name))
      throw refuse(`"${word}" isn't known: ${NETWORK_SYNTAX}`);
    if (value === "") throw refuse(`${name}= needs a value`);
    if (name === "allow") {
      if (kind !== "user") throw refuse("allow= is for a user network");
      check(refuse, () => parseAllowRule(value));
      allow.push(value);
    } else if (values.has(name)) throw refuse(`${name}= stands twice`);
    else values.set(name, value);
  }
  const mtu = values.get("mtu");
  if (mtu !== undefined && !(/^\d{1,5}$/.test(mtu) && Number(mtu) >= 576 && Number(mtu) <= 65521))
    throw refuse("mtu= is 576 to 65521 bytes");
  const mac = values.get("mac");
  if (mac !== undefined && !/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i.test(mac))
    throw refuse("mac= is the address of one card: six bytes in hex with colons, the first one even");
  const address = values.get("address");
  if (address !== undefined && kind !== "hub") throw refuse("address= is for a hub; the others have DHCP");
  if (address !== undefined && !/^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/.test(address))
    throw refuse("address= is an IPv4 address with the bits of its network: 192.168.7.2/24");
  const rate = values.get("rate");
  const pcap = values.get("pcap");
  return {
    kind,
    allow,
    ...(socket === undefined ? {} : { socket }),
    ...(pcap === undefined ? {} : { pcap }),
    ...(mac === undefined ? {} : { mac }),
    ...(mtu === undefined ? {} : { mtu: Number(mtu) }),
    ...(rate === undefined ? {} : { rate: check(refuse, () => parseVifRate(rate)) }),
    ...(address === undefined ? {} : { address }),
    ...(filter ? { filter } : {}),
  };
}

/** A library's refusal becomes one of the option. */
function check<T>(refuse: (why: string) => UsageError, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error));
  }
}

/** Reads one `--publish`: `[ADDR:]HOSTPORT:GUESTPORT[/tcp|/udp]`. Throws {@link UsageError}. */
export function parsePublish(text: string): PublishSpec {
  const parts = /^(?:(\[[0-9a-f:.]+\]|[^:]*):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/i.exec(text);
  const [, address, hostPort, guestPort, protocol] = parts ?? [];
  if (parts === null || address === "") throw new UsageError(`--publish ${text}: [ADDR:]HOSTPORT:GUESTPORT[/udp]`);
  for (const port of [hostPort, guestPort])
    if (Number(port) > 65535) throw new UsageError(`--publish ${text}: ports are 1 to 65535`);
  if (Number(guestPort) === 0) throw new UsageError(`--publish ${text}: a guest's port is 1 to 65535`);
  return {
    hostPort: Number(hostPort),
    guestPort: Number(guestPort),
    protocol: protocol?.toLowerCase() === "udp" ? "udp" : "tcp",
    ...(address === undefined ? {} : { address: address.replace(/^\[|\]$/g, "") }),
  };
}
