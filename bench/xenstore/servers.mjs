// Starts the xenstore daemons that are compared.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connectUnix } from "@paravirt/host-node";
import { installPackages } from "../lib/debian.mjs";

const CLI = new URL("../../packages/paravirt/bin/paravirt.js", import.meta.url).pathname;
const PRELOAD_SOURCE = new URL("./without-xen.c", import.meta.url).pathname;
/** Seconds that a daemon has to begin serving. */
const PATIENCE = 10;

/** Starts one after the other in `folder`: {name, socket, child}. What can't be had is left out, by name and reason. */
export async function* startServers(folder) {
  const ours = (name, args) => {
    const socket = join(folder, `${name.replace(" ", "-")}.socket`);
    return { name, socket, program: process.execPath, args: [CLI, "xenstored", "--socket", socket, ...args], env: {} };
  };
  const wanted = [ours("paravirt", []), ours("paravirt --db", ["--db", join(folder, "db")]), ...debianServers(folder)];
  for (const { name, socket, program, args, env } of wanted) {
    const child = spawn(program, args, { stdio: "ignore", env: { ...process.env, ...env } });
    try {
      await untilServed(socket, child);
      yield { name, socket, child };
    } catch (error) {
      child.kill("SIGKILL");
      console.error(`${name} is left out: ${error.message}`);
    }
  }
}

function debianServers(folder) {
  const missing = installPackages(["xen-utils-4.17", "gcc", "libc6-dev"]);
  if (missing !== undefined) {
    console.error(`Debian's xenstored and oxenstored are left out: ${missing}`);
    return [];
  }
  const preload = join(folder, "without-xen.so");
  const compiler = spawnSync("gcc", ["-O2", "-shared", "-fPIC", "-o", preload, PRELOAD_SOURCE], { encoding: "utf8" });
  if (compiler.status !== 0) {
    console.error(`Debian's xenstored and oxenstored are left out: ${compiler.stderr.split("\n")[0]}`);
    return [];
  }
  const config = join(folder, "oxenstored.conf");
  writeFileSync(config, `pid-file = ${join(folder, "oxenstored.pid")}\nquota-activate = true\npersistent = false\n`);
  const place = (name) => readdirSync("/usr/lib").map((entry) => join("/usr/lib", entry, "bin", name));
  const find = (name) => place(name).find((path) => path.includes("/xen-") && existsSync(path));
  const oxenstored = join(folder, "oxenstored.socket");
  return [
    {
      name: "C xenstored",
      socket: join(folder, "socket"),
      program: find("xenstored"),
      args: ["--no-fork", "--internal-db", "--pid-file", join(folder, "xenstored.pid")],
      env: { LD_PRELOAD: preload, XENSTORED_RUNDIR: folder, XENSTORED_ROOTDIR: folder },
    },
    {
      name: "oxenstored",
      socket: oxenstored,
      program: find("oxenstored"),
      args: ["--no-fork", "--no-domain-init", "--config-file", config],
      env: { LD_PRELOAD: preload, XENSTORED_SOCKET: oxenstored },
    },
  ];
}

async function untilServed(socket, child) {
  let ended = false;
  child.on("error", () => {
    ended = true;
  });
  child.on("close", () => {
    ended = true;
  });
  for (const end = performance.now() + PATIENCE * 1000; ; ) {
    try {
      (await connectUnix(socket)).close();
      return;
    } catch (error) {
      if (ended) throw new Error("it ended at once");
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
