import type { XenbusEnd } from "@paravirt/xenbus";
import type { QueueNodes } from "./queue.ts";
import type { BlockProtocol } from "./request.ts";

/** What a frontend wrote about itself before it went to Initialised. */
export interface FrontendNodes {
  readonly protocol: BlockProtocol;
  /** It uses the same grants for all requests. */
  readonly persistent: boolean;
  readonly queues: readonly QueueNodes[];
}

/** What the backend offered. */
export interface FrontendLimits {
  readonly maxQueues: number;
  readonly maxRingPageOrder: number;
}

/** `XEN_IO_PROTO_ABI_*` of `io/protocols.h`. A frontend that names none lays out its requests as we are: for 64 bits. */
const PROTOCOLS: Readonly<Record<string, BlockProtocol>> = {
  "x86_64-abi": "x86_64",
  "x86_32-abi": "x86_32",
  native: "x86_64",
  "": "x86_64",
};

/** Reads and checks a frontend's nodes (`io/blkif.h`). Throws an `Error` that names the node and the limit. */
export async function readFrontendNodes(end: XenbusEnd, limits: FrontendLimits): Promise<FrontendNodes> {
  const name = (await end.readOther("protocol")) ?? "";
  const protocol = Object.hasOwn(PROTOCOLS, name) ? PROTOCOLS[name] : undefined;
  if (protocol === undefined) throw new Error(`protocol ${quoted(name)} isn't known: x86_64-abi, x86_32-abi or native`);
  const count = await numberNode(end, "multi-queue-num-queues", 1, limits.maxQueues, 1);
  const pages = await ringPages(end, limits.maxRingPageOrder);
  const queues: QueueNodes[] = [];
  // With one queue the nodes stand where they did before there were several.
  for (let queue = 0; queue < count; queue++)
    queues.push(await readQueue(end, count === 1 ? "" : `queue-${queue}/`, pages));
  return { protocol, persistent: (await end.readOther("feature-persistent")) === "1", queues };
}

/** Pages of each ring; `undefined` for the single page that needs no number. */
async function ringPages(end: XenbusEnd, maxOrder: number): Promise<number | undefined> {
  if ((await end.readOther("ring-page-order")) !== undefined)
    return 2 ** (await numberNode(end, "ring-page-order", 0, maxOrder));
  // The older node for the same thing.
  if ((await end.readOther("num-ring-pages")) === undefined) return undefined;
  const pages = await numberNode(end, "num-ring-pages", 1, 2 ** maxOrder);
  if ((pages & (pages - 1)) !== 0) throw new Error(`num-ring-pages ${pages} isn't a power of two`);
  return pages;
}

async function readQueue(end: XenbusEnd, folder: string, pages: number | undefined): Promise<QueueNodes> {
  const ring: number[] = [];
  // A single page goes by its old name, also where frontends write the order 0.
  const single = (pages ?? 1) === 1 && (await end.readOther(`${folder}ring-ref`)) !== undefined;
  if (pages === undefined || single) ring.push(await numberNode(end, `${folder}ring-ref`, 0, MAX_U32));
  else
    for (let page = 0; page < pages; page++) ring.push(await numberNode(end, `${folder}ring-ref${page}`, 0, MAX_U32));
  return { ring, port: await numberNode(end, `${folder}event-channel`, 0, MAX_U32) };
}

const MAX_U32 = 0xffffffff;

async function numberNode(
  end: XenbusEnd,
  name: string,
  least: number,
  most: number,
  otherwise?: number,
): Promise<number> {
  const text = await end.readOther(name);
  if (text === undefined) {
    if (otherwise !== undefined) return otherwise;
    throw new Error(`${name} is missing`);
  }
  const value = Number(text);
  if (!/^[0-9]{1,10}$/.test(text) || value < least || value > most)
    throw new Error(`${name} ${quoted(text)} isn't a number from ${least} to ${most}`);
  return value;
}

/** A guest's words for a message: of a decent length, and nothing that a log would take for more than words. */
function quoted(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}
