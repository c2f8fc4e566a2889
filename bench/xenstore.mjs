// `npm run bench:xenstore [-- --seconds N] [--json FILE]`: requests a second, and a processor second, of `paravirt
// xenstored` and of Debian's C xenstored and oxenstored, through the same client on the same kind of socket.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { connectUnix } from "@paravirt/host-node";
import { createXenstoreClient, streamLink } from "@paravirt/xenstore";
import { cpuSeconds } from "./lib/measure.mjs";
import { refuse, whole } from "./lib/options.mjs";
import { startServers } from "./xenstore/servers.mjs";

const COMMAND = "bench:xenstore";

function readOptions() {
  try {
    const { values } = parseArgs({ options: { seconds: { type: "string", default: "2" }, json: { type: "string" } } });
    return { seconds: whole(values.seconds, 1, 100, "--seconds", COMMAND), json: values.json };
  } catch (error) {
    return refuse(`${COMMAND}: ${error.message}`);
  }
}

/** Each row: how many requests one call of `run` makes; `at` counts the calls. */
const ROWS = {
  read: { requests: 1, run: (client) => client.read("/bench/value") },
  write: { requests: 1, run: (client, at) => client.write(`/bench/slot-${at % 64}`, `value ${at}`) },
  "write and remove": {
    requests: 2,
    run: (client, at) => Promise.all([client.write(`/bench/new/${at}`, ""), client.remove(`/bench/new/${at}`)]),
  },
  "list 100 names": { requests: 1, run: (client) => client.list("/bench/list") },
  permissions: { requests: 1, run: (client) => client.permissions("/bench/value") },
  transaction: {
    requests: 4,
    run: (client, at) =>
      client.transaction(async (nodes) => {
        await nodes.read(`/bench/own/${at % 64}`);
        await nodes.write(`/bench/own/${at % 64}`, `value ${at}`);
      }),
  },
};
/** Requests that one client has underway. Transactions of one client run one after the other. */
const WINDOWS = [1, 32];

async function prepare(client) {
  await client.write("/bench/value", "x".repeat(40));
  await client.write("/bench/new", "");
  for (let at = 0; at < 100; at++) await client.write(`/bench/list/name-${at}`, "");
  for (let at = 0; at < 64; at++) await client.write(`/bench/own/${at}`, "");
}

/** Lets V8 see every kind of request before anything is counted. */
async function warmUp({ client, seconds }) {
  for (const row of Object.values(ROWS)) {
    const end = performance.now() + (seconds * 1000) / 4;
    for (let at = 0; performance.now() < end; at++) await row.run(client, at);
  }
}

/** Runs a row for some seconds and answers requests per second and per processor second of the server. */
async function measure({ client, pid, row, window, seconds }) {
  let calls = 0;
  const work = async (end, slot) => {
    for (let at = slot; performance.now() < end; at += window) {
      await row.run(client, at);
      calls++;
    }
  };
  const round = async (time) => {
    calls = 0;
    const begin = performance.now();
    const cpu = cpuSeconds(pid);
    await Promise.all(Array.from({ length: window }, (_, slot) => work(begin + time * 1000, slot)));
    return { wall: (performance.now() - begin) / 1000, cpu: cpuSeconds(pid) - cpu };
  };
  await round(seconds / 4);
  const { wall, cpu } = await round(seconds);
  return {
    perSecond: Math.round((calls * row.requests) / wall),
    perCpuSecond: Math.round((calls * row.requests) / cpu),
  };
}

const { seconds, json } = readOptions();
const folder = mkdtempSync(join(tmpdir(), "paravirt-bench-"));
const servers = [];
process.on("exit", () => {
  for (const { child } of servers) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));

for await (const server of startServers(folder)) servers.push(server);
for (const { socket } of servers) {
  const client = createXenstoreClient(streamLink(await connectUnix(socket)));
  await prepare(client);
  await warmUp({ client, seconds });
  client.close();
}
const rows = {};
for (const window of WINDOWS) {
  for (const [name, row] of Object.entries(ROWS)) {
    if (window > 1 && name === "transaction") continue;
    const title = `${name}, ${window} at once`;
    rows[title] = {};
    console.error(title);
    for (const { name: server, socket, child } of servers) {
      const client = createXenstoreClient(streamLink(await connectUnix(socket)));
      rows[title][server] = await measure({ client, pid: child.pid, row, window, seconds });
      client.close();
    }
  }
}

const names = servers.map(({ name }) => name);
const line = (title, cells) => console.log(title.padEnd(32) + cells.map((cell) => String(cell).padStart(16)).join(""));
for (const [title, key] of [
  ["requests per CPU second", "perCpuSecond"],
  ["requests per second", "perSecond"],
]) {
  line(title, names);
  for (const [row, results] of Object.entries(rows))
    line(
      row,
      names.map((name) => results[name][key]),
    );
  const others = names.filter((name) => !name.startsWith("paravirt"));
  for (const other of others) {
    const ratio = (name) => {
      const logs = Object.values(rows).map((results) => Math.log(results[name][key] / results[other][key]));
      return Math.exp(logs.reduce((sum, one) => sum + one, 0) / logs.length).toFixed(2);
    };
    line(`geometric mean over ${other}`, names.map(ratio));
  }
  console.log("");
}
if (json !== undefined) writeFileSync(json, `${JSON.stringify({ rows }, null, 2)}\n`);
process.exit(0);
