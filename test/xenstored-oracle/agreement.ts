import { XS } from "@paravirt/xen-abi";
import fc from "fast-check";
import { expect } from "vitest";
import { DOMAINS, ourPeers, type Peer, startTheirs, textOf } from "./peers.ts";

const permissionList = fc.constantFrom("n0|", "b0|", "r0|b1|", "n1|", "n1|r2|", "w1|b2|", "n2|r1|w0|", "r2|n1|");
const name = fc.constantFrom("a", "b", "c");
const path = fc.array(name, { maxLength: 3 }).map((parts) => ["", ...parts].join("/"));
/** Requests; `~` stands for the run's own subtree. */
const plain: fc.Arbitrary<Request> = fc.oneof(
  fc.tuple(
    fc.constantFrom(XS.READ, XS.MKDIR, XS.DIRECTORY, XS.GET_PERMS),
    path.map((node) => `~${node}|`),
  ),
  fc.tuple(
    fc.constant(XS.RM),
    path.filter((node) => node !== "").map((node) => `~${node}|`),
  ),
  fc.tuple(
    fc.constant(XS.WRITE),
    fc.tuple(path, fc.constantFrom("", "1", "two")).map(([node, value]) => `~${node}|${value}`),
  ),
  fc.tuple(
    fc.constant(XS.SET_PERMS),
    fc.tuple(path, permissionList).map(([node, list]) => `~${node}|${list}`),
  ),
  fc.tuple(
    fc.constant(XS.DIRECTORY_PART),
    path.map((node) => `~${node}|99|`),
  ),
);
const watch: fc.Arbitrary<Request> = fc.tuple(
  fc.constantFrom(XS.WATCH, XS.WATCH, XS.UNWATCH),
  fc.tuple(path, fc.constantFrom("t", "u")).map(([node, token]) => `~${node}|${token}|`),
);
const odd = fc.constantFrom(
  // Not among these: a READ without its NUL. C xenstored answers whatever errno was left over; when that is 0 it answers
  // nothing and its assertion that it has answered ends it (consider_message in xenstored_core.c of 4.17).
  [XS.READ, "~//a|"],
  [XS.READ, "~/a/|"],
  [XS.READ, "~/a b|"],
  [XS.READ, "/|"],
  [XS.DIRECTORY, "/|"],
  [XS.WRITE, "~/a"],
  [XS.WRITE, "relative|x"],
  [XS.WRITE, `~/a|${"x".repeat(1000)}`],
  [XS.WRITE, `~/large|${"x".repeat(1990)}`],
  [XS.WRITE, `~/large|${"x".repeat(2025)}`],
  [XS.WRITE, `~/large|${"x".repeat(3500)}`],
  [XS.MKDIR, `~/a/${"x".repeat(1500)}|`],
  [XS.READ, "~/a|"],
  [XS.RM, "relative|"],
  [XS.RM, "~/none/below|"],
  [XS.READ, `~/${"x".repeat(3100)}|`],
  [XS.SET_PERMS, "~/a|"],
  [XS.SET_PERMS, "~/a|n1|reserved"],
  [XS.UNWATCH, "~/a|t|reserved"],
  [XS.SET_PERMS, "~/a|x1|"],
  [XS.SET_PERMS, "~/a|n1|r2|r3|r4|r5|r6|r7|"],
  [XS.WATCH, "~/a|"],
  [XS.WATCH, "@releaseDomain|s|"],
  [XS.UNWATCH, "@releaseDomain|s|"],
  [XS.WATCH, "relative|r|"],
  [XS.UNWATCH, "relative|r|"],
  [XS.GET_DOMAIN_PATH, "7|"],
  [XS.IS_DOMAIN_INTRODUCED, "1|"],
  [XS.IS_DOMAIN_INTRODUCED, "9|"],
  [XS.TRANSACTION_END, "T|"],
  [XS.TRANSACTION_END, "x|"],
  [XS.RELEASE, "99|"],
  [XS.RESUME, "99|"],
  [XS.SET_TARGET, "1|99|"],
  [200, "|"],
) as fc.Arbitrary<Request>;
const domid = fc.constantFrom(...DOMAINS);
type Request = readonly [type: number, body: string];
type Step =
  | { readonly kind: "one"; readonly domid: number; readonly request: Request }
  | {
      readonly kind: "transaction";
      readonly domid: number;
      readonly requests: readonly Request[];
      readonly end: string;
    };
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("one" as const), domid, request: plain }),
  fc.record({ kind: fc.constant("one" as const), domid, request: fc.oneof(plain, watch, odd) }),
  // Nobody else acts in between: when transactions collide is where the two differ on purpose.
  fc.record({
    kind: fc.constant("transaction" as const),
    domid,
    requests: fc.array(plain, { maxLength: 6 }),
    end: fc.constantFrom("T|", "T|", "F|"),
  }),
);

const BARRIER = { type: XS.GET_DOMAIN_PATH, requestId: 6, transactionId: 0, body: Buffer.from("5\0") };

/** Runs `steps` in the subtree `home` and answers all that the domains were told. */
async function run(peers: readonly Peer[], home: string, steps: readonly Step[]): Promise<string[]> {
  const log: string[] = [];
  const ask = async (domid: number, [type, text]: Request, transactionId = 0): Promise<string> => {
    const body = Buffer.from(text.replaceAll("~", home).replaceAll("|", "\0"), "latin1");
    const heard = await peers[domid]!.ask({ type, requestId: 5, transactionId, body });
    const reply = heard.at(-1)!;
    // The first event of a watch follows its reply: whatever comes before another reply is here by then.
    const rest = await peers[domid]!.ask(BARRIER);
    const lines = [...heard, ...rest.slice(0, -1)].map((message) => {
      // Transaction ids are the store's own business, and so are the stamps of lists.
      if (message.type === XS.TRANSACTION_START) return `${message.type} id`;
      const line = textOf(message).replaceAll(home, "~");
      return message.type === XS.DIRECTORY_PART ? line.replace(/ \d+\|/, " stamp|") : line;
    });
    // C xenstored sends an event that still waits to be read, and is the same, once.
    log.push(`d${domid} ${type} ${text.slice(0, 60)} -> ${[...new Set(lines)].join(", ")}`);
    return Buffer.from(reply.body).toString("latin1").replaceAll("\0", "");
  };
  /** What the others were told because of it. */
  const listen = async (speaker: number): Promise<void> => {
    for (const domid of DOMAINS) if (domid !== speaker) await ask(domid, [XS.GET_DOMAIN_PATH, "5|"]);
  };
  await ask(0, [XS.WRITE, "~|home"]);
  await ask(0, [XS.SET_PERMS, "~|n0|b1|r2|"]);
  for (const one of steps) {
    if (one.kind === "one") await ask(one.domid, one.request);
    else {
      const id = Number(await ask(one.domid, [XS.TRANSACTION_START, "|"]));
      for (const request of one.requests) await ask(one.domid, request, id);
      await ask(one.domid, [XS.TRANSACTION_END, one.end], id);
    }
    await listen(one.domid);
  }
  for (const domid of DOMAINS) await ask(domid, [XS.RESET_WATCHES, "|"]);
  await ask(0, [XS.RM, "~|"]);
  return log;
}

/**
 * Lets three domains ask our store and C xenstored the same, in `numRuns` random dialogues, and expects answers and events
 * that are equal byte for byte.
 */
export async function expectAgreement({ numRuns, seed }: { numRuns: number; seed: number }): Promise<void> {
  const theirs = await startTheirs();
  const ours = ourPeers();
  let runs = 0;
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25, size: "max" }), async (steps) => {
        const home = `/run-${runs++}`;
        const expected = await run(theirs.peers, home, steps);
        expect(await run(ours, home, steps)).toEqual(expected);
      }),
      { numRuns, seed },
    );
  } finally {
    theirs.close();
  }
}
