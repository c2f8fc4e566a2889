// `npm run bench:net [-- --json FILE]`: MB that go through a guest's network card in a CPU second of the machine's process,
// each way, and small requests; paravirt with its user-mode network, QEMU's TCG with virtio-net and its own, side by side.
import { spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { joinArchives, writeCpio } from "@paravirt/boot";
import { debianGuest, XEN_MODULES } from "@paravirt/host-node";
import { installPackages } from "./lib/debian.mjs";
import {
  DEVICE_ENGINES,
  deviceMachine,
  planText,
  printRows,
  runnable,
  runRows,
  scaled,
  workFolder,
} from "./lib/device-bench.mjs";
import { deviceBenchOptions, refuse } from "./lib/options.mjs";

const COMMAND = "bench:net";
/** What a row moves: MiB, or requests. */
const ROWS = { download: 200, upload: 200, requests: 100 };
const UNITS = { download: "MB", upload: "MB", requests: "requests" };

/** Starts the host's servers; they end with this process. */
async function startServer() {
  const script = new URL("net/server.mjs", import.meta.url).pathname;
  const child = spawn(process.execPath, [script], { stdio: ["pipe", "pipe", "inherit"] });
  child.unref();
  const line = await new Promise((resolve) => child.stdout.setEncoding("utf8").once("data", resolve));
  child.stdout.destroy();
  return { ...JSON.parse(line), close: () => child.kill() };
}

/** The guest's own program, built for it. */
function buildStream() {
  const missing = installPackages(["gcc", "libc6-dev"]);
  if (missing !== undefined) refuse(`${COMMAND}: ${missing}`);
  const output = join(folder, "stream");
  const source = new URL("net/stream.c", import.meta.url).pathname;
  const built = spawnSync("gcc", ["-O2", "-static", "-s", "-march=x86-64", "-o", output, source], { encoding: "utf8" });
  if (built.status !== 0) refuse(`${COMMAND}: stream.c can't be compiled: ${built.stderr}`);
  return readFileSync(output);
}

function benchArchive({ guest, server, plan }) {
  const file = (path, data, mode = 0o644) => ({ path, type: "file", mode, data: new TextEncoder().encode(data) });
  const init = readFileSync(new URL("net/init", import.meta.url), "utf8");
  return joinArchives([
    guest.initramfs,
    writeCpio([
      { path: "bench", type: "directory", mode: 0o755 },
      file("bench/init", init, 0o755),
      file("bench/server", `HTTP=${server.http} UPLOAD=${server.upload} DOWNLOAD=${server.download}\n`),
      { path: "bench/stream", type: "file", mode: 0o755, data: buildStream() },
      file("bench/plan", plan),
    ]),
  ]);
}

function machine(engine) {
  return deviceMachine({
    engine,
    guest,
    initrd,
    append: "rdinit=/bench/init",
    devices:
      engine === "paravirt"
        ? ["--net", "user,allow=*"]
        : ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"],
  });
}

const { json, reps, scale, rows, engines } = deviceBenchOptions({
  command: COMMAND,
  about: "a guest's network in paravirt and in QEMU's TCG, user networking both",
  rows: Object.keys(ROWS),
  engines: DEVICE_ENGINES,
});
const folder = workFolder();
const server = await startServer();
process.on("exit", () => server.close());
const modules = [...XEN_MODULES, "virtio_pci", "virtio_net"];
const guest = await debianGuest({ modules, onProgress: ({ what }) => console.error(what) });
const amounts = scaled(Object.fromEntries(rows.map((name) => [name, ROWS[name]])), scale);
const initrd = join(folder, "initrd");
writeFileSync(initrd, benchArchive({ guest, server, plan: planText({ amounts, reps }) }));

const running = runnable(engines);
const machines = Object.fromEntries(running.map((engine) => [engine, machine(engine)]));
const result = await runRows({ machines, amounts, units: UNITS, reps });
printRows({ rows: result.rows, units: UNITS, engines: running });
if (json !== undefined) writeFileSync(json, `${JSON.stringify({ amounts, rows: result.rows }, null, 2)}\n`);
for (const line of result.wrong) console.error(`${COMMAND}: ${line}`);
if (result.wrong.length > 0) process.exitCode = 1;
server.close();
