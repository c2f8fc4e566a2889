import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createHub, streamPort } from "@paravirt/net";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { canTap, startTap } from "../test/tap.ts";
import { connectUnixStream, listenUnixStream } from "./unix-stream.ts";

// Linux's own network stack behind networks of other programs, through our ports.

const data = randomBytes(5 * 1024 * 1024);
const sum = createHash("sha256").update(data).digest("hex");
const web = createServer((_request, response) => response.end(data));
const folder = mkdtempSync(join(tmpdir(), "paravirt-uplink-"));
const children: ChildProcess[] = [];
let port = 0;

beforeAll(async () => {
  chmodSync(folder, 0o777); // passt is somebody else
  await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
  port = (web.address() as AddressInfo).port;
});
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  web.close();
  rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(!canTap())("Linux behind", () => {
  test("passt: DHCP's addresses are set by hand, a download from the host's loopback arrives whole", async () => {
    const path = join(folder, "passt");
    const words = ["-f", "-q", "-s", path, "-a", "10.0.2.15", "-n", "24", "-g", "10.0.2.2"];
    // passt doesn't run as root.
    const user = process.getuid?.() === 0 ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : [];
    const [program, ...rest] = [...user, "passt", ...words];
    const passt = spawn(program!, rest, { stdio: "ignore" });
    children.push(passt);
    await expect.poll(() => existsSync(path), { timeout: 5000 }).toBe(true);
    const ended: unknown[] = [];
    const uplink = streamPort(await connectUnixStream(path), { onClose: (error) => ended.push(error) });
    const guest = await startTap(uplink, "10.0.2.15/24", 1500, { takesOffloads: false });
    try {
      const { output } = await guest.run(`curl -s http://10.0.2.2:${port}/ | sha256sum`);
      expect(output.slice(0, 64)).toBe(sum);
      passt.kill("SIGKILL");
      await expect.poll(() => ended).toEqual([undefined]);
    } finally {
      guest.close();
      uplink.close();
    }
  });

  test("a hub in another process: two guests reach each other through its socket", async () => {
    const path = join(folder, "hub");
    const hub = createHub();
    const listener = await listenUnixStream(path, (stream) => hub.join(streamPort(stream)));
    await expect(listenUnixStream(path, () => {})).rejects.toMatchObject({ code: "BUSY" });
    const plug = async (address: string) =>
      startTap(streamPort(await connectUnixStream(path)), address, 1500, { takesOffloads: false });
    const [left, right] = [await plug("10.7.0.1/24"), await plug("10.7.0.2/24")];
    try {
      const server = left.start(process.execPath, [
        "-e",
        `require("node:http").createServer((q, r) => r.end("neighbour")).listen(80, () => console.log("up"))`,
      ]);
      await new Promise((resolve) => server.stdout!.once("data", resolve));
      expect((await right.run("curl -s http://10.7.0.1/")).output).toBe("neighbour");
    } finally {
      left.close();
      right.close();
      listener.close();
    }
  });

  test("a WebSocket relay: a network and a guest that know each other through it only", async () => {
    const test = fileURLToPath(new URL("../test/", import.meta.url));
    const relay = spawn("/usr/bin/python3", [join(test, "relay.py")], { stdio: ["ignore", "pipe", "inherit"] });
    children.push(relay);
    const relayPort = await new Promise<string>((resolve) =>
      relay.stdout.once("data", (text) => resolve(String(text).trim())),
    );
    const outfile = join(folder, "relay-check.mjs");
    await build({
      entryPoints: [join(test, "relay-check.ts")],
      outfile,
      bundle: true,
      platform: "node",
      format: "esm",
      conditions: ["@paravirt/source"],
    });
    copyFileSync(join(test, "tap.pl"), join(folder, "tap.pl"));
    const option = Number(process.versions.node.split(".")[0]) < 22 ? ["--experimental-websocket"] : [];
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [...option, outfile, `ws://127.0.0.1:${relayPort}/`, `http://10.0.2.2:${port}/`],
      { timeout: 60_000 },
    );
    expect(stdout.slice(0, 64)).toBe(sum);
  });
});

test("a socket that a killed program left is taken over; one that isn't there is said to be missing", async () => {
  const path = join(folder, "left");
  const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  await promisify(execFile)(process.execPath, ["-e", script]).catch(() => {});
  expect(existsSync(path)).toBe(true);
  await expect(connectUnixStream(path)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  const listener = await listenUnixStream(path, () => {});
  listener.close();
  await expect(connectUnixStream(join(folder, "nowhere"))).rejects.toMatchObject({ code: "UNAVAILABLE" });
});
