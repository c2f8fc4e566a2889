import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectUnix } from "@paravirt/host-node";
import { createXenstoreClient, streamLink, type XenstoreClient, type XenstoreNodes } from "@paravirt/xenstore";
import { afterAll, expect, test } from "vitest";
import { type RunningXenstored, startXenstored } from "./test-xenstored.ts";

/*
 * A hundred times: several clients write as fast as they can, and the daemon gets SIGKILL. What the next daemon says must
 * be the state after some number of each client's operations: at least those that were answered, at most those that were
 * sent; and nothing that anybody has read may be gone.
 */
const KILLS = 100;
const CLIENTS = 4;
/** Operations of each client that wait for their answers. */
const WINDOW = 8;
/** Nodes that just lie there: with them the file is large enough for every daemon to begin by compacting it. */
const BULK = 1200;

const folder = mkdtempSync(join(tmpdir(), "xenstored-kill-"));
afterAll(() => rmSync(folder, { recursive: true }));
const socket = join(folder, "socket");
const db = join(folder, "db");

/** Operation `at` of a client in its own subtree: each leaves a state that says which one it was. */
async function operate(client: XenstoreClient, home: string, at: number): Promise<void> {
  const filler = "x".repeat(200 + (at % 7) * 100);
  switch (at % 4) {
    case 0:
      // Makes three nodes, or replaces one value.
      await client.write(`${home}/plain/a/b`, `${at} ${filler}`);
      return;
    case 1:
      await client.remove(`${home}/plain`);
      return;
    default:
      await client.transaction(async (nodes) => {
        await Promise.all([
          nodes.remove(`${home}/set`),
          nodes.write(`${home}/first`, `${at}`),
          nodes.write(`${home}/second`, `${at} ${filler}`),
          nodes.write(`${home}/set/number-${at}`, ""),
        ]);
        await nodes.write(`${home}/third`, `${at}`);
      });
  }
}

const bulkValue = (at: number): string => `${at} `.repeat(4000).slice(0, 4000);

/** Which operations a client's subtree shows the outcome of. */
interface State {
  readonly plain: number | undefined;
  readonly set: number | undefined;
}

/** Reads a client's subtree; throws where it is torn. */
async function stateOf(nodes: XenstoreNodes, home: string): Promise<State> {
  const value = async (path: string): Promise<number | undefined> => {
    if (!(await nodes.exists(path))) return undefined;
    return Number((await nodes.read(path)).split(" ")[0]);
  };
  const [first, second, third] = await Promise.all(
    ["first", "second", "third"].map((name) => value(`${home}/${name}`)),
  );
  const set = (await nodes.exists(`${home}/set`)) ? await nodes.list(`${home}/set`) : [];
  expect([second, third]).toEqual([first, first]);
  expect(set).toEqual(first === undefined ? [] : [`number-${first}`]);
  const plain = await value(`${home}/plain/a/b`);
  expect(await nodes.exists(`${home}/plain`)).toBe(plain !== undefined);
  return { plain, set: first };
}

/** One client between two kills: what it found, and its operations from `start` on. */
interface Progress {
  found: State;
  start: number;
  sent: number;
  answered: number;
}

/** Sends operations in order, `WINDOW` of them at once, until the connection ends. */
async function load(client: XenstoreClient, home: string, progress: Progress): Promise<void> {
  const underway = new Set<Promise<void>>();
  for (let open = true; open; ) {
    const at = progress.sent++;
    // Transactions of one client that overlap would disturb each other: they go one at a time.
    if (at % 4 >= 2) await Promise.allSettled(underway);
    const one = operate(client, home, at)
      .then(() => {
        progress.answered = Math.max(progress.answered, at + 1);
      })
      .catch(() => {
        open = false;
      })
      .finally(() => underway.delete(one));
    underway.add(one);
    if (at % 4 >= 2) await one;
    else if (underway.size >= WINDOW) await Promise.race(underway);
  }
  await Promise.allSettled(underway);
}

async function connect(): Promise<XenstoreClient> {
  return createXenstoreClient(streamLink(await connectUnix(socket)));
}

test("a hundred times SIGKILL under load: no answered write is lost, nothing is torn, nothing seen is unseen", async () => {
  const progress: Progress[] = Array.from({ length: CLIENTS }, () => ({
    found: { plain: undefined, set: undefined },
    start: 0,
    sent: 0,
    answered: 0,
  }));
  const seen = new Map<string, number>();
  let answered = 0;
  let compactions = 0;
  let inode = 0;
  const first = await startXenstored(["--socket", socket, "--db", db]);
  const filler = await connect();
  await Promise.all(Array.from({ length: BULK }, (_, at) => filler.write(`/bulk/${at}`, bulkValue(at))));
  expect(await first.end("SIGKILL")).toBe("SIGKILL");
  for (let kill = 0; kill <= KILLS; kill++) {
    const daemon: RunningXenstored = await startXenstored(["--socket", socket, "--db", db]);
    const checker = await connect();
    for (const [index, one] of progress.entries()) {
      const home = `/load/${index}`;
      const found = await stateOf(checker, home);
      expect(possibleStates(one)).toContainEqual(found);
      expect(found.set ?? -1).toBeGreaterThanOrEqual(seen.get(home) ?? -1);
      answered += one.answered - one.start;
      // The next operations begin in the same phase, with numbers that were never used.
      const start = Math.ceil((one.sent + 1) / 4) * 4;
      progress[index] = { found, start, sent: start, answered: start };
    }
    expect(await checker.list("/bulk")).toHaveLength(BULK);
    for (let at = kill; at < BULK; at += kill === KILLS ? 1 : 211) {
      expect(await checker.read(`/bulk/${at}`)).toBe(bulkValue(at));
    }
    if (kill === KILLS) {
      expect(await daemon.end("SIGTERM")).toBe(0);
      break;
    }
    const clients = await Promise.all(progress.map(() => connect()));
    const loads = clients.map((client, index) => load(client, `/load/${index}`, progress[index]!));
    const watching = look(checker, seen);
    await untilAnswered(progress, 5 + ((kill * 37) % 60));
    expect(await daemon.end("SIGKILL")).toBe("SIGKILL");
    await Promise.all([...loads, watching]);
    const { ino } = statSync(db);
    if (ino !== inode) compactions++;
    inode = ino;
  }
  console.log(`${KILLS} kills, ${answered} answered operations, ${compactions} compactions`);
  expect(compactions).toBeGreaterThan(0);
  expect(answered).toBeGreaterThan(KILLS * 5);
});

/** Waits until so many operations have been answered in all, and another few milliseconds. */
async function untilAnswered(progress: readonly Progress[], count: number): Promise<void> {
  const done = (): number => progress.reduce((sum, { answered, start }) => sum + answered - start, 0);
  while (done() < count) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setTimeout(resolve, count % 13));
}

/** Reads what clients wrote, all the time: whatever was told once must be true for good. */
async function look(reader: XenstoreClient, seen: Map<string, number>): Promise<void> {
  try {
    for (let at = 0; ; at++) {
      const home = `/load/${at % CLIENTS}`;
      if (!(await reader.exists(`${home}/first`))) continue;
      const number = Number(await reader.read(`${home}/first`));
      seen.set(home, Math.max(number, seen.get(home) ?? -1));
    }
  } catch (error) {
    expect(error).toMatchObject({ code: "CLOSED" });
  }
}

/** What a subtree shows after at least the operations that were answered and at most those that were sent. */
function possibleStates({ found, start, sent, answered }: Progress): State[] {
  const states: State[] = [];
  let { plain, set } = found;
  for (let done = start; done <= sent; done++) {
    if (done >= answered) states.push({ plain, set });
    if (done % 4 === 0) plain = done;
    else if (done % 4 === 1) plain = undefined;
    else set = done;
  }
  return states;
}
