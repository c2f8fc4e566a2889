import { type PacketOffload, type PacketPort, ParavirtError } from "@paravirt/core";
import {
  formatIpv4,
  type Ipv4,
  type Ipv4Network,
  networkMask,
  parseEthernetAddress,
  parseIpv4,
  readIpv4Network,
} from "../addresses.ts";
import { getWord, putLong, putWord } from "../bytes.ts";
import { addToSum, finishChecksum } from "../checksum.ts";
import type { HostListener, NetworkHost } from "../network-host.ts";
import { decodeSegment } from "../tcp/segment.ts";
import { ETHERNET_HEADER, ETHERTYPE } from "../transport.ts";
import { AllowList, type AllowRule, parseAllowRule } from "./allow-list.ts";
import { DhcpServer } from "./dhcp.ts";
import { DnsForwarder } from "./dns.ts";
import { Fragments } from "./fragments.ts";
import { encodeEchoReply, encodeUnreachable, isEcho, UNREACHABLE_CODE } from "./icmp.ts";
import { decodeIpv4, IPV4_HEADER, type Ipv4Header, PAYLOAD_AT, PROTOCOL, pseudoSum } from "./ipv4.ts";
import { Link } from "./link.ts";
import type { FlowAddress, TcpFlow } from "./tcp-flow.ts";
import { TcpFlows } from "./tcp-flows.ts";
import { type PublishedPort, UdpFlows } from "./udp-flows.ts";

/** A network of user-mode NAT. */
export interface NatOptions {
  /** Sockets, time and names. */
  readonly host: NetworkHost;
  /**
   * Where guests may connect to, as {@link parseAllowRule} reads it; nowhere when left out. 10.0.2.2 is the host's own
   * loopback, which `127.0.0.1` and `localhost` mean too.
   */
  readonly allow?: readonly string[];
  /** The guests' network, /16 or smaller (`10.0.2.0/24`): its gateway is address 2, its name server 3, its first guest 15. */
  readonly network?: string;
  /** Largest IP datagram, 576 to 65521 bytes (1500). Guests are told by DHCP. */
  readonly mtu?: number;
  /** The gateway's Ethernet address (`52:55:0a:00:02:02`). */
  readonly mac?: string;
  /** Domain for names without a dot, told by DHCP. */
  readonly domain?: string;
  /** TCP connections of the host at once (1024). */
  readonly maxConnections?: number;
  /** UDP conversations at once (512). */
  readonly maxUdpFlows?: number;
  /** Milliseconds of silence after which a UDP conversation is forgotten (60,000). */
  readonly udpTimeout?: number;
  /** Milliseconds of silence on a TCP connection after which a guest is asked whether it is still there (900,000). */
  readonly keepAlive?: number;
}

/** A port of the host that leads to a guest. */
export interface PublishOptions {
  /** Address of the host to listen at; all of them when left out. */
  readonly address?: string;
  /** The host's port; 0 takes a free one. */
  readonly port: number;
  /** The guest's port. */
  readonly guestPort: number;
  /** `tcp`, which it is when left out, or `udp`. */
  readonly protocol?: "tcp" | "udp";
  /** The guest's address (10.0.2.15). */
  readonly guest?: string;
}

/** Addresses of a network as guests see them. */
export interface NatAddresses {
  /** The gateway, which stands for the host's own loopback. */
  readonly gateway: string;
  /** The name server. */
  readonly dns: string;
  /** What the first guest gets. */
  readonly guest: string;
}

/** What a network has open. */
export interface NatStatistics {
  /** TCP connections of the host. */
  readonly connections: number;
  /** UDP conversations that are remembered. */
  readonly udpFlows: number;
}

/** A network of guests behind user-mode NAT. */
export interface Nat {
  /** Where guests are plugged in: one card, or a hub. It takes large segments and unfinished checksums. */
  readonly port: PacketPort;
  /** What the network looks like, for messages. */
  readonly addresses: NatAddresses;
  /** What is open now. */
  readonly statistics: NatStatistics;
  /** Opens a port of the host for connections, or datagrams, to a guest, who sees them come from the gateway. Fails with `UNAVAILABLE` when it can't be had. */
  publish(options: PublishOptions): Promise<HostListener>;
  /** Ends all connections and stops listening. */
  close(): void;
}

const GATEWAY = 2;
const NAME_SERVER = 3;
const FIRST_GUEST = 15;
const DNS_PORT = 53;
const DHCP_SERVER = 67;
const DHCP_CLIENT = 68;
const UDP_HEADER = 8;
const TCP_HEADER = 20;
const LOOPBACK = "127.0.0.1";

/** Makes a network. Throws `BAD_ARGUMENT` or `OUT_OF_RANGE` naming the option that is wrong. */
export function createNat(options: NatOptions): Nat {
  return new UserModeNat(options);
}

class UserModeNat implements Nat {
  readonly port: PacketPort;
  readonly #host: NetworkHost;
  readonly #link: Link;
  readonly #allow: AllowList;
  readonly #dhcp: DhcpServer;
  readonly #dns: DnsForwarder;
  readonly #tcp: TcpFlows;
  readonly #udp: UdpFlows;
  readonly #fragments = new Fragments();
  readonly #listeners = new Set<HostListener>();
  #closed = false;

  constructor(options: NatOptions) {
    const {
      host,
      mtu = 1500,
      maxConnections = 1024,
      maxUdpFlows = 512,
      udpTimeout = 60_000,
      keepAlive = 900_000,
    } = options;
    inRange("mtu", mtu, 576, 65521);
    inRange("maxConnections", maxConnections, 1, 65536);
    inRange("maxUdpFlows", maxUdpFlows, 1, 65536);
    inRange("udpTimeout", udpTimeout, 1, 2 ** 31);
    inRange("keepAlive", keepAlive, 1, 2 ** 31);
    const network = guestNetwork(options.network ?? "10.0.2.0/24");
    const gateway = network.address + GATEWAY;
    const dns = network.address + NAME_SERVER;
    const rules = (options.allow ?? []).map((text) => withLoopback(parseAllowRule(text), gateway));
    this.#host = host;
    this.#allow = new AllowList(rules);
    this.#link = new Link({
      network,
      gateway,
      dns,
      mtu,
      mac: parseEthernetAddress(options.mac ?? "52:55:0a:00:02:02"),
    });
    this.#dhcp = new DhcpServer({
      gateway,
      dns,
      mask: networkMask(network.bits),
      first: network.address + FIRST_GUEST,
      last: ((network.address | ~networkMask(network.bits)) >>> 0) - 1,
      mtu: mtu === 1500 ? undefined : mtu,
      domain: options.domain,
    });
    this.#dns = new DnsForwarder({ host, allow: this.#allow, gateway });
    this.#tcp = new TcpFlows({
      link: this.#link,
      host,
      maxConnections,
      keepAlive,
      route: (address, port) => this.#route(address, port),
      unreachable: (flow) => this.#tcpUnreachable(flow),
    });
    this.#udp = new UdpFlows({
      host,
      maxFlows: maxUdpFlows,
      timeout: udpTimeout,
      route: (address, port) => this.#route(address, port),
      deliver: (address, bytes) => this.#sendUdp(address, bytes),
      unreachable: (address) => {
        const about = quote(address, PROTOCOL.udp, 0);
        this.#unreachable(address.guest, address.remote, UNREACHABLE_CODE.port, about);
      },
    });
    this.port = {
      takesOffloads: true,
      send: (frame, offload) => this.#receive(frame, offload),
      onPacket: (receiver, settings) => this.#link.setReceiver(receiver, settings?.takesOffloads === true),
    };
  }

  get addresses(): NatAddresses {
    const { gateway, dns, network } = this.#link.options;
    return { gateway: formatIpv4(gateway), dns: formatIpv4(dns), guest: formatIpv4(network.address + FIRST_GUEST) };
  }

  get statistics(): NatStatistics {
    return { connections: this.#tcp.connections, udpFlows: this.#udp.size };
  }

  async publish({ address, port, guestPort, guest, protocol = "tcp" }: PublishOptions): Promise<HostListener> {
    inRange("port", port, 0, 65535);
    inRange("guestPort", guestPort, 1, 65535);
    const target = guest === undefined ? this.#link.options.network.address + FIRST_GUEST : parseIpv4(guest);
    if (!this.#link.isGuest(target))
      throw new ParavirtError("BAD_ARGUMENT", `guest ${formatIpv4(target)} is no guest's address of this network`);
    const listener =
      protocol === "udp"
        ? await this.#publishDatagrams(address, port, target, guestPort)
        : await this.#host.listen(address, port, (connection) =>
            this.#closed ? undefined : this.#tcp.accept(target, guestPort, connection),
          );
    if (this.#closed) {
      listener.close();
      throw new ParavirtError("UNAVAILABLE", "the network is closed");
    }
    const published: HostListener = {
      port: listener.port,
      close: () => {
        if (this.#listeners.delete(published)) listener.close();
      },
    };
    this.#listeners.add(published);
    return published;
  }

  async #publishDatagrams(
    address: string | undefined,
    port: number,
    guest: Ipv4,
    guestPort: number,
  ): Promise<HostListener> {
    let published: PublishedPort | undefined;
    const listener = await this.#host.listenDatagrams(address, port, (bytes, from) => {
      if (published !== undefined && !this.#closed) this.#udp.receive(published, from, bytes);
    });
    const own = { guest, guestPort, gateway: this.#link.options.gateway, listener, peers: new Map<string, string>() };
    published = own;
    return {
      port: listener.port,
      close: () => {
        this.#udp.unpublish(own);
        listener.close();
      },
    };
  }

  close(): void {
    if (this.#closed) return;
    for (const listener of [...this.#listeners]) listener.close();
    this.#tcp.close();
    this.#udp.close();
    this.#dns.close();
    this.#closed = true;
  }

  /** A frame from a guest. */
  #receive(frame: Uint8Array, offload: PacketOffload | undefined): void {
    if (this.#closed || frame.length < ETHERNET_HEADER || !this.#isForUs(frame)) return;
    const type = getWord(frame, 12);
    if (type === ETHERTYPE.arp) this.#link.receiveArp(frame);
    if (type !== ETHERTYPE.ipv4) return;
    const header = decodeIpv4(frame);
    if (header === undefined) return;
    const { source, payload, end } = header;
    if (source !== 0 && !this.#link.isGuest(source)) return;
    this.#link.learn(source, frame, 6);
    if (header.moreFragments || header.fragmentOffset > 0) {
      const whole = this.#fragments.put(header, frame.subarray(payload, end), this.#host.now());
      if (whole !== undefined) this.#receiveDatagram(frame, header, whole, false);
      return;
    }
    // Only TCP and UDP have a checksum that may be left undone.
    const trusted = offload?.partialChecksum === true || offload?.segmentSize !== undefined;
    this.#receiveDatagram(frame, header, frame.subarray(payload, end), trusted);
  }

  #isForUs(frame: Uint8Array): boolean {
    if ((frame[0]! & 1) !== 0) return true;
    const { mac } = this.#link.options;
    for (let byte = 0; byte < 6; byte++) if (frame[byte] !== mac[byte]) return false;
    return true;
  }

  #receiveDatagram(frame: Uint8Array, header: Ipv4Header, bytes: Uint8Array, trusted: boolean): void {
    const { protocol, source, destination } = header;
    if (protocol === PROTOCOL.icmp) this.#receiveEcho(frame, header, bytes);
    else if (protocol === PROTOCOL.tcp) {
      if (bytes.length < TCP_HEADER || source === 0 || this.#link.isBroadcast(destination)) return;
      const dataAt = (bytes[12]! >> 4) * 4;
      if (dataAt < TCP_HEADER || dataAt > bytes.length) return;
      if (!trusted && !isIntact(header, bytes)) return;
      this.#tcp.receive(source, destination, decodeSegment(bytes, 0, dataAt, bytes.length));
    } else if (protocol === PROTOCOL.udp) this.#receiveUdp(frame, header, bytes, trusted);
    else if (source !== 0) this.#prohibit(frame, header);
  }

  #receiveUdp(frame: Uint8Array, header: Ipv4Header, bytes: Uint8Array, trusted: boolean): void {
    if (bytes.length < UDP_HEADER) return;
    const length = getWord(bytes, 4);
    if (length < UDP_HEADER || length > bytes.length) return;
    if (!trusted && getWord(bytes, 6) !== 0 && !isIntact(header, bytes.subarray(0, length))) return;
    const { gateway, dns } = this.#link.options;
    const { source, destination } = header;
    const remotePort = getWord(bytes, 2);
    const data = bytes.subarray(UDP_HEADER, length);
    if (remotePort === DHCP_SERVER && (destination === 0xffffffff || destination === gateway)) {
      const reply = this.#dhcp.receive(data);
      if (reply === undefined) return;
      const address = { guest: reply.destination, guestPort: DHCP_CLIENT, remote: gateway, remotePort: DHCP_SERVER };
      this.#sendUdp(address, reply.bytes, reply.destination === 0xffffffff ? undefined : reply.mac);
      return;
    }
    if (source === 0 || this.#link.isBroadcast(destination)) return;
    const address: FlowAddress = { guest: source, guestPort: getWord(bytes, 0), remote: destination, remotePort };
    if (destination === dns && remotePort === DNS_PORT) {
      this.#dns.receive(data, (answer) => this.#sendUdp(address, answer));
      return;
    }
    if (!this.#udp.send(address, data)) this.#prohibit(frame, header);
  }

  #receiveEcho(request: Uint8Array, header: Ipv4Header, message: Uint8Array): void {
    const { source, destination } = header;
    if (source === 0 || !isEcho(message)) return;
    if (!this.#link.isOurs(destination)) {
      this.#prohibit(request, header);
      return;
    }
    const frame = this.#link.takeFrame();
    const length = encodeEchoReply(frame, message);
    this.#link.sendDatagram(frame, { source: destination, destination: source, protocol: PROTOCOL.icmp, length });
  }

  /** Where an address of the guests' view lies for the host; `undefined` when it may not be reached. */
  #route(address: Ipv4, port: number): string | undefined {
    const { network, gateway, dns } = this.#link.options;
    if (address === dns) {
      // Answers over TCP aren't looked into, so they are for guests that may ask for any name.
      return port === DNS_PORT && this.#allow.resolvesAll ? this.#host.nameServers()[0] : undefined;
    }
    const isHere = address >= network.address && address <= (network.address | ~networkMask(network.bits)) >>> 0;
    const top = address >>> 24;
    if ((isHere && address !== gateway) || top === 0 || top === 127 || top >= 224) return undefined;
    if (!this.#allow.allows(address, port, this.#host.now())) return undefined;
    return address === gateway ? LOOPBACK : formatIpv4(address);
  }

  #sendUdp({ guest, guestPort, remote, remotePort }: FlowAddress, data: Uint8Array, mac?: Uint8Array): void {
    const length = UDP_HEADER + data.length;
    if (length > 0xffff - IPV4_HEADER) return;
    const frame = this.#link.takeFrame();
    putWord(frame, PAYLOAD_AT, remotePort);
    putWord(frame, PAYLOAD_AT + 2, guestPort);
    putWord(frame, PAYLOAD_AT + 4, length);
    putWord(frame, PAYLOAD_AT + 6, 0);
    frame.set(data, PAYLOAD_AT + UDP_HEADER);
    const sum = addToSum(pseudoSum(remote, guest, PROTOCOL.udp, length), frame, PAYLOAD_AT, PAYLOAD_AT + length);
    // RFC 768: 0 would say that there is no checksum.
    putWord(frame, PAYLOAD_AT + 6, finishChecksum(sum) || 0xffff);
    this.#link.sendDatagram(
      frame,
      { source: remote, destination: guest, protocol: PROTOCOL.udp, length },
      undefined,
      mac,
    );
  }

  /** Tells a guest that its datagram goes nowhere: it isn't allowed. */
  #prohibit(frame: Uint8Array, { source, destination, fragmentOffset }: Ipv4Header): void {
    // RFC 1122 3.2.2: nothing is said about a broadcast or a later fragment.
    if (this.#link.isBroadcast(destination) || destination >>> 28 === 14 || fragmentOffset > 0) return;
    this.#unreachable(source, this.#link.options.gateway, UNREACHABLE_CODE.prohibited, frame.slice(ETHERNET_HEADER));
  }

  #tcpUnreachable({ address, synSequence }: TcpFlow): void {
    const about = quote(address, PROTOCOL.tcp, synSequence);
    this.#unreachable(address.guest, this.#link.options.gateway, UNREACHABLE_CODE.host, about);
  }

  #unreachable(guest: Ipv4, source: Ipv4, code: number, about: Uint8Array): void {
    const frame = this.#link.takeFrame();
    const length = encodeUnreachable(frame, code, about);
    this.#link.sendDatagram(frame, { source, destination: guest, protocol: PROTOCOL.icmp, length });
  }
}

function guestNetwork(text: string): Ipv4Network {
  const network = readIpv4Network(text);
  if (network === undefined || network.bits < 16 || network.bits > 27)
    throw new ParavirtError("BAD_ARGUMENT", `network ${text} is not an IPv4 network of 16 to 27 bits`);
  return network;
}

/** A rule about the host's own loopback is about what stands for it. */
function withLoopback(rule: AllowRule, gateway: Ipv4): AllowRule {
  const isLoopback = rule.name === "localhost" || (rule.network?.bits === 32 && rule.network.address >>> 24 === 127);
  return isLoopback ? { ...rule, name: undefined, network: { address: gateway, bits: 32 } } : rule;
}

function isIntact({ source, destination, protocol }: Ipv4Header, bytes: Uint8Array): boolean {
  return finishChecksum(addToSum(pseudoSum(source, destination, protocol, bytes.length), bytes, 0, bytes.length)) === 0;
}

/** The start of a datagram of a flow, for an ICMP message about it. */
function quote({ guest, guestPort, remote, remotePort }: FlowAddress, protocol: number, fourth: number): Uint8Array {
  const about = new Uint8Array(IPV4_HEADER + 8);
  about[0] = 0x45;
  putWord(about, 2, about.length);
  about[8] = 64;
  about[9] = protocol;
  putLong(about, 12, guest);
  putLong(about, 16, remote);
  putWord(about, 20, guestPort);
  putWord(about, 22, remotePort);
  putLong(about, 24, fourth);
  return about;
}

function inRange(name: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high)
    throw new ParavirtError("OUT_OF_RANGE", `${name} ${value} is not in ${low} to ${high}`);
}
