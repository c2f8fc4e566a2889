// `npm run bench:share [-- --json FILE]`: MB that go between a guest and a shared folder in a CPU second of the machine's
// process, each way, and small files; paravirt with its 9pfs device, QEMU's TCG with virtio-9p, side by side.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { joinArchives, writeCpio } from "@paravirt/boot";
import { debianGuest, GUEST_MODULES, XEN_MODULES } from "@paravirt/host-node";
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
import { deviceBenchOptions } from "./lib/options.mjs";

const COMMAND = "bench:share";
/** What a row moves: MiB, or files that are made, listed and removed. */
const ROWS = { write: 200, read: 200, read4k: 20, files: 200 };
const UNITS = { write: "MB", read: "MB", read4k: "MB", files: "files" };

function benchArchive({ guest, plan }) {
  const file = (path, data, mode = 0o644) => ({ path, type: "file", mode, data: new TextEncoder().encode(data) });
  return joinArchives([
    guest.initramfs,
    writeCpio([
      { path: "bench", type: "directory", mode: 0o755 },
      file("bench/init", readFileSync(new URL("share/init", import.meta.url), "utf8"), 0o755),
      file("bench/plan", plan),
    ]),
  ]);
}

function machine(engine) {
  const transport = engine === "paravirt" ? "xen" : "virtio";
  const path = shared(engine);
  return deviceMachine({
    engine,
    guest,
    initrd,
    append: `rdinit=/bench/init bench.mount=trans=${transport},version=9p2000.L,${mount}`,
    devices:
      engine === "paravirt"
        ? ["--share", `${path}:bench`]
        : ["-virtfs", `local,path=${path},mount_tag=bench,security_model=none`],
  });
}

/** A folder of each machine's own, on the same file system. */
function shared(name) {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

const { json, reps, scale, rows, engines, mount } = deviceBenchOptions({
  command: COMMAND,
  about: "a shared folder in paravirt and in QEMU's TCG",
  rows: Object.keys(ROWS),
  engines: DEVICE_ENGINES,
  extra: {
    mount: {
      type: "string",
      default: "cache=mmap,msize=262144",
      help: "  --mount OPTIONS  how the guest mounts it (cache=mmap,msize=262144)",
    },
  },
});
const folder = workFolder();
const modules = [...XEN_MODULES, ...GUEST_MODULES.share, "virtio_pci", "9pnet_virtio"];
const guest = await debianGuest({ modules, onProgress: ({ what }) => console.error(what) });
const amounts = scaled(Object.fromEntries(rows.map((name) => [name, ROWS[name]])), scale);
const initrd = join(folder, "initrd");
writeFileSync(initrd, benchArchive({ guest, plan: planText({ amounts, reps }) }));

const running = runnable(engines);
const machines = Object.fromEntries(running.map((engine) => [engine, machine(engine)]));
const result = await runRows({ machines, amounts, units: UNITS, reps });
printRows({ rows: result.rows, units: UNITS, engines: running });
if (json !== undefined) writeFileSync(json, `${JSON.stringify({ amounts, rows: result.rows }, null, 2)}\n`);
for (const line of result.wrong) console.error(`${COMMAND}: ${line}`);
if (result.wrong.length > 0) process.exitCode = 1;
