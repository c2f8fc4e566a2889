import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectUnixStream } from "@paravirt/host-node";
import { streamPort } from "@paravirt/net";
import { expect, test } from "vitest";
import { canTap, startTap } from "../../host-node/test/tap.ts";

const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test.skipIf(!canTap())(
  "--publish leads to the guest's httpd, --net hub to neighbours, and a filter holds false addresses back",
  { timeout: 300_000 },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "paravirt-cli-net-"));
    const hub = join(folder, "hub");
    const port = await freePort();
    const script = `mkdir /www; echo welcome >/www/index.html; httpd -h /www; echo ready
      read -r line; ip addr add 10.7.0.9/24 dev eth1; ping -c 1 -W 2 -I 10.7.0.9 10.7.0.2 >/dev/null && echo "false address passed"
      echo done`;
    const words = [
      "--net",
      "user",
      "--publish",
      `127.0.0.1:${port}:80`,
      "--net",
      `hub:${hub},address=10.7.0.1/24,filter`,
    ];
    const guest = spawn(process.execPath, [CLI, "run", "debian", ...words, "--", "sh", "-c", script]);
    let output = "";
    guest.stdout.on("data", (text) => {
      output += String(text);
    });
    try {
      await expect.poll(() => existsSync(hub), { timeout: 60_000 }).toBe(true);
      const uplink = streamPort(await connectUnixStream(hub));
      const neighbour = await startTap(uplink, "10.7.0.2/24", 1500, { takesOffloads: false });
      try {
        await expect.poll(() => output, { timeout: 120_000 }).toContain("ready");
        expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("welcome\n");
        expect((await neighbour.run("curl -s http://10.7.0.1/")).output).toBe("welcome\n");
        guest.stdin.end("\n");
        await expect.poll(() => output, { timeout: 60_000 }).toContain("done");
        expect(output).not.toContain("false address");
        const ended = new Promise((resolve) => guest.on("close", resolve));
        expect(await ended).toBe(0);
        expect(existsSync(hub)).toBe(false);
      } finally {
        neighbour.close();
        uplink.close();
      }
    } finally {
      guest.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
