import { ParavirtError } from "@paravirt/core";
import type { XenbusEnd } from "@paravirt/xenbus";

/** The rings and event channels of one queue, as a frontend names them. */
export interface FrontendQueue {
  /** Grant of the transmit ring's page. */
  readonly txRing: number;
  /** Grant of the receive ring's page. */
  readonly rxRing: number;
  /** Event channel of the transmit ring. */
  readonly txPort: number;
  /** Event channel of the receive ring; the same as `txPort` for a frontend that has one for both. */
  readonly rxPort: number;
}

/** What a frontend has written before it is connected (io/netif.h). */
export interface FrontendNodes {
  readonly queues: readonly FrontendQueue[];
  /** Whether it takes frames in several pages. */
  readonly scatterGather: boolean;
  /** Whether it takes large TCP segments over IPv4. */
  readonly gsoIpv4: boolean;
  /** Whether it takes large TCP segments over IPv6. */
  readonly gsoIpv6: boolean;
  /** Whether it takes TCP and UDP over IPv4 with partial checksums. */
  readonly checksumIpv4: boolean;
  /** Whether it takes TCP and UDP over IPv6 with partial checksums. */
  readonly checksumIpv6: boolean;
}

/** The node by which a frontend asks for {@link MulticastFilter}. */
export const REQUEST_MULTICAST = "request-multicast-control";

/** Reads a frontend's nodes. Throws `BAD_ARGUMENT` naming the node that is wrong or missing, for the device's error node. */
export async function readFrontendNodes(end: XenbusEnd, maxQueues: number): Promise<FrontendNodes> {
  if (!(await isSet(end, "request-rx-copy")))
    throw new ParavirtError("BAD_ARGUMENT", "request-rx-copy isn't 1: pages are copied to, not exchanged");
  if (!(await isSet(end, "feature-rx-notify")))
    throw new ParavirtError("BAD_ARGUMENT", "feature-rx-notify isn't 1: a frontend must tell of new pages");
  const scatterGather = await isSet(end, "feature-sg");
  return {
    queues: await readQueues(end, maxQueues),
    scatterGather,
    // Large segments don't fit into one page.
    gsoIpv4: scatterGather && (await isSet(end, "feature-gso-tcpv4")),
    gsoIpv6: scatterGather && (await isSet(end, "feature-gso-tcpv6")),
    checksumIpv4: !(await isSet(end, "feature-no-csum-offload")),
    checksumIpv6: await isSet(end, "feature-ipv6-csum-offload"),
  };
}

async function readQueues(end: XenbusEnd, maxQueues: number): Promise<FrontendQueue[]> {
  const asked = await end.readOther("multi-queue-num-queues");
  const count = asked === undefined ? 1 : numberIn("multi-queue-num-queues", asked);
  if (count < 1 || count > maxQueues)
    throw new ParavirtError("BAD_ARGUMENT", `multi-queue-num-queues ${count} is not in 1 to ${maxQueues}`);
  if (count === 1) return [await readQueue(end, "")];
  const queues: FrontendQueue[] = [];
  for (let index = 0; index < count; index++) queues.push(await readQueue(end, `queue-${index}/`));
  return queues;
}

async function readQueue(end: XenbusEnd, prefix: string): Promise<FrontendQueue> {
  const txRing = await needed(end, `${prefix}tx-ring-ref`);
  const rxRing = await needed(end, `${prefix}rx-ring-ref`);
  const tx = await end.readOther(`${prefix}event-channel-tx`);
  if (tx !== undefined) {
    const txPort = numberIn(`${prefix}event-channel-tx`, tx);
    return { txRing, rxRing, txPort, rxPort: await needed(end, `${prefix}event-channel-rx`) };
  }
  const both = await needed(end, `${prefix}event-channel`);
  return { txRing, rxRing, txPort: both, rxPort: both };
}

async function needed(end: XenbusEnd, name: string): Promise<number> {
  const text = await end.readOther(name);
  if (text === undefined) throw new ParavirtError("BAD_ARGUMENT", `${name} is missing`);
  return numberIn(name, text);
}

/** Whether a node of the frontend is a number other than 0. */
export async function isSet(end: XenbusEnd, name: string): Promise<boolean> {
  return /^[0-9]*[1-9][0-9]*$/.test((await end.readOther(name)) ?? "0");
}

function numberIn(name: string, text: string): number {
  const value = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= 0xffffffff)) throw new ParavirtError("BAD_ARGUMENT", `${name} is not a number of 32 bits`);
  return value;
}
