import { randomUUID } from "node:crypto";
import type { PacketPort } from "@paravirt/core";
import { nodeNetworkHost, openPcapFile } from "@paravirt/host-node";
import { createHub } from "@paravirt/net";
import { createVif, generateMac } from "@paravirt/netback";
import type { ParsedArguments } from "../options.ts";
import { UsageError } from "../usage-error.ts";
import type { DeviceRequest, OpenedDevice } from "./device-request.ts";
import { type NetworkSpec, type PublishSpec, parseNetworks, parsePublish } from "./network-spec.ts";
import { openUplink } from "./uplinks.ts";

/** The network cards of all `--net` options, eth0 first, with the ports of all `--publish`. */
export function networkRequests({ lists }: Pick<ParsedArguments, "lists">): readonly DeviceRequest[] {
  const specs = parseNetworks(lists.get("net") ?? []);
  const published = (lists.get("publish") ?? []).map(parsePublish);
  if (published.length > 0 && !specs.some(({ kind }) => kind === "user"))
    throw new UsageError("--publish needs --net user");
  return specs.map((spec, id) => {
    const network = guestNetwork(spec, id);
    return {
      kind: "network",
      ...(network === undefined ? {} : { network }),
      open: () => openNetwork(spec, id, spec.kind === "user" ? published : []),
    };
  });
}

/** How `/init` configures the card. */
function guestNetwork({ kind, address }: NetworkSpec, id: number): string | undefined {
  if (kind !== "hub") return `eth${id}:dhcp`;
  return address === undefined ? undefined : `eth${id}:${address}`;
}

async function openNetwork(spec: NetworkSpec, id: number, published: readonly PublishSpec[]): Promise<OpenedDevice> {
  const { mtu, rate, pcap, filter } = spec;
  // Cards of several guests meet on a hub; alone on its network a card may have the same address each time.
  const mac = spec.mac ?? generateMac(spec.kind === "user" ? `user ${id}` : randomUUID());
  const uplink = await openUplink(spec, published);
  try {
    const port = filter === true ? filteredPort(uplink.port, spec, mac) : uplink.port;
    const tee = pcap === undefined ? undefined : openPcapFile(pcap, port, warn);
    const device = createVif({
      port: tee?.port ?? port,
      id,
      mac,
      ...(mtu === undefined ? {} : { mtu }),
      ...(rate === undefined ? {} : { rate, timer: nodeNetworkHost() }),
    });
    return {
      device,
      close() {
        uplink.close();
        tee?.close();
      },
    };
  } catch (error) {
    uplink.close();
    throw error;
  }
}

/** What the guest may send is decided here, by whoever knows its addresses, wherever the hub runs. */
function filteredPort(uplink: PacketPort, { address }: NetworkSpec, mac: string): PacketPort {
  const hub = createHub({ filter: true });
  hub.join(uplink);
  return hub.addPort({ mac, ...(address === undefined ? {} : { addresses: [address.split("/")[0]!] }) });
}

function warn(error: unknown): void {
  process.stderr.write(`paravirt: ${error instanceof Error ? error.message : String(error)}\n`);
}
