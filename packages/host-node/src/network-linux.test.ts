import { createHash, randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer, get } from "node:http";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PacketPort } from "@paravirt/core";
import { createNat, type Nat, type NatOptions } from "@paravirt/net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { canTap, startTap, type TapGuest } from "../test/tap.ts";
import { nodeNetworkHost } from "./network-host.ts";
import { openPcapFile } from "./pcap-file.ts";

// The NAT against Linux's own network stack: a tap device in a network namespace stands for the guest.

const NODE = process.execPath;
const MEGABYTE = 1024 * 1024;

async function withGuest(
  work: (guest: TapGuest, nat: Nat) => Promise<void>,
  options: Omit<NatOptions, "host"> = { allow: ["*"] },
  wrap: (port: PacketPort) => PacketPort = (port) => port,
): Promise<void> {
  const nat = createNat({ host: nodeNetworkHost(), ...options });
  const guest = await startTap(wrap(nat.port), "10.0.2.15/24", options.mtu);
  try {
    await work(guest, nat);
  } finally {
    guest.close();
    nat.close();
  }
}

/** Loses, doubles and delays frames. */
function disturbed(port: PacketPort, loss: number): PacketPort {
  const treat = (frame: Uint8Array, to: (frame: Uint8Array) => void): void => {
    const chance = Math.random();
    if (chance < loss) return;
    const copy = frame.slice();
    if (chance < 2 * loss) setTimeout(() => to(copy), 3);
    else to(copy);
    if (chance > 1 - loss) to(copy);
  };
  return {
    // Each piece is lost by itself.
    takesOffloads: true,
    send: (frame, offload) => treat(frame, (copy) => port.send(copy, offload)),
    onPacket: (receiver) =>
      port.onPacket(receiver === undefined ? undefined : (frame) => treat(frame, (copy) => receiver(copy))),
  };
}

const data = randomBytes(20 * MEGABYTE);
const sum = createHash("sha256").update(data).digest("hex");
let web: ReturnType<typeof createHttpServer>;
let port = 0;

beforeAll(async () => {
  web = createHttpServer((request, response) => {
    if (request.method !== "PUT") {
      const size = Number(/\d+/.exec(request.url ?? "")?.[0] ?? data.length);
      response.end(data.subarray(0, size));
      return;
    }
    const hash = createHash("sha256");
    request.on("data", (bytes) => hash.update(bytes));
    request.on("end", () => response.end(hash.digest("hex")));
  });
  await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
  port = (web.address() as AddressInfo).port;
});
afterAll(() => web.close());

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

describe.skipIf(!canTap())("Linux behind the NAT", () => {
  test("downloads and uploads arrive whole, in large segments", async () => {
    await withGuest(async (guest) => {
      const down = await guest.run(`curl -s http://10.0.2.2:${port}/ | sha256sum`);
      expect(down.output.slice(0, 64)).toBe(sum);
      const folder = mkdtempSync(join(tmpdir(), "paravirt-nat-"));
      writeFileSync(join(folder, "data"), data);
      const up = await guest.run(`curl -s -T ${folder}/data http://10.0.2.2:${port}/`);
      rmSync(folder, { recursive: true });
      expect(up.output).toBe(sum);
      const counters = await guest.run("cat /proc/net/snmp; ip -j -s link show eth0");
      const tcp = counters.output.match(/Tcp: [0-9 -]+/)![0].split(" ");
      expect([tcp[12], tcp[14]], "retransmitted, received with errors").toEqual(["0", "0"]);
      const [{ stats64 }] = JSON.parse(counters.output.trim().split("\n").at(-1)!) as [
        { stats64: { rx: { packets: number }; tx: { packets: number } } },
      ];
      expect(stats64.rx.packets + stats64.tx.packets).toBeLessThan(data.length / 10_000);
    });
  });

  test("whatever is lost, doubled and late, data arrives whole in both directions", async () => {
    await withGuest(
      async (guest) => {
        const size = 3 * MEGABYTE;
        const expected = createHash("sha256").update(data.subarray(0, size)).digest("hex");
        const down = await guest.run(`curl -s http://10.0.2.2:${port}/${size} | sha256sum`, { timeout: 60_000 });
        expect(down.output.slice(0, 64)).toBe(expected);
        const folder = mkdtempSync(join(tmpdir(), "paravirt-nat-"));
        writeFileSync(join(folder, "data"), data.subarray(0, size));
        const up = await guest.run(`curl -s -T ${folder}/data http://10.0.2.2:${port}/`, { timeout: 60_000 });
        rmSync(folder, { recursive: true });
        expect(up.output).toBe(expected);
      },
      { allow: ["*"] },
      (nat) => disturbed(nat, 0.01),
    );
  });

  test("200 connections at once", async () => {
    await withGuest(async (guest, nat) => {
      const size = 50_000;
      const expected = createHash("sha256").update(data.subarray(0, size)).digest("hex");
      const script = `
        const { get } = require("node:http"), { createHash } = require("node:crypto");
        let left = 200, good = 0;
        for (let i = 0; i < 200; i++) get({ host: "10.0.2.2", port: ${port}, path: "/${size}", agent: false }, (answer) => {
          const hash = createHash("sha256");
          answer.on("data", (bytes) => hash.update(bytes));
          answer.on("end", () => { if (hash.digest("hex") === "${expected}") good++; if (--left === 0) console.log(good); });
        });`;
      const { output } = await guest.run(`${NODE} -e '${script}'`);
      expect(output.trim()).toBe("200");
      await expect.poll(() => nat.statistics.connections).toBe(0);
    });
  });

  test("refused, forbidden and reset connections end at once, each in its own way", async () => {
    const resetting = createServer((socket) => setTimeout(() => socket.resetAndDestroy(), 200));
    const resetPort = await listening(resetting);
    await withGuest(
      async (guest) => {
        const started = Date.now();
        const { output } = await guest.run(
          `for port in 1 ${resetPort} ${port}; do ${NODE} -e '
            const socket = require("node:net").connect(+process.argv[1], "10.0.2.2", () => console.log("open"));
            socket.on("error", (error) => console.log(error.code)); socket.on("close", () => process.exit());' $port; done
          ${NODE} -e 'const socket = require("node:dgram").createSocket("udp4");
            socket.on("error", (error) => { console.log(error.code); socket.close(); });
            socket.connect(9, "192.0.2.1", () => socket.send("x"));'`,
        );
        expect(output.trim().split("\n")).toEqual([
          "ECONNREFUSED",
          "open",
          "ECONNRESET",
          "ECONNREFUSED",
          "EHOSTUNREACH",
        ]);
        expect(Date.now() - started).toBeLessThan(10_000);
      },
      { allow: [`10.0.2.2:1`, `localhost:${resetPort}`] },
    );
    resetting.close();
  });

  test("a side that has ended still receives", async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      const hash = createHash("sha256");
      socket.on("data", (bytes) => hash.update(bytes));
      socket.on("end", () => setTimeout(() => socket.end(hash.digest("hex")), 300));
    });
    const serverPort = await listening(server);
    await withGuest(async (guest) => {
      const { output } = await guest.run(
        `${NODE} -e 'const socket = require("node:net").connect({ port: ${serverPort}, host: "10.0.2.2", allowHalfOpen: true });
          socket.end(Buffer.alloc(500000, 7)); socket.on("data", (bytes) => process.stdout.write(bytes));'`,
      );
      expect(output).toBe(createHash("sha256").update(Buffer.alloc(500_000, 7)).digest("hex"));
    });
    server.close();
  });

  test("a reader that stops holds the writer back, in both directions", async () => {
    let written = 0;
    let read = 0;
    const server = createServer((socket) => {
      const more = (): void => {
        while (socket.write(data.subarray(0, 65_536))) written += 65_536;
        written += 65_536;
      };
      socket.on("drain", more);
      more();
      socket.on("data", (bytes) => {
        read += bytes.length;
      });
      socket.pause();
      setTimeout(() => socket.resume(), 1500);
      socket.on("error", () => {});
    });
    const serverPort = await listening(server);
    await withGuest(async (guest) => {
      const { output } = await guest.run(
        `${NODE} -e 'const socket = require("node:net").connect(${serverPort}, "10.0.2.2");
          let sent = 0; const more = () => { while (socket.write(Buffer.alloc(65536))) sent += 65536; sent += 65536; };
          socket.on("connect", more); socket.on("drain", more);
          setTimeout(() => { console.log(sent); }, 1000); setTimeout(() => { console.log(sent); process.exit(); }, 2500);'`,
      );
      const [before, after] = output.trim().split("\n").map(Number);
      // What fits into sockets and our own megabyte each way; and then it goes on.
      expect(before).toBeLessThan(16 * MEGABYTE);
      expect(written).toBeLessThan(16 * MEGABYTE);
      expect(after).toBeGreaterThan(before!);
      expect(read).toBeGreaterThan(0);
    });
    server.close();
  });

  test("UDP, and names through the network's own server", async () => {
    const echo = createSocket("udp4");
    echo.on("message", (bytes, { port: from, address }) => echo.send(bytes, from, address));
    await new Promise<void>((resolve) => echo.bind(0, "127.0.0.1", resolve));
    const folder = mkdtempSync(join(tmpdir(), "paravirt-nat-"));
    const hostsFile = join(folder, "hosts");
    writeFileSync(hostsFile, "127.0.0.1 localhost me\n192.0.2.77 Far.example # not here\n::1 six\n");
    const nat = createNat({ host: nodeNetworkHost({ hostsFile, nameServers: [] }), allow: ["*"] });
    const guest = await startTap(nat.port);
    try {
      const { output } = await guest.run(
        `${NODE} -e '
          const { Resolver } = require("node:dns"); const resolver = new Resolver(); resolver.setServers(["10.0.2.3"]);
          const socket = require("node:dgram").createSocket("udp4");
          socket.on("message", (bytes) => { console.log(bytes.length, bytes[2999]); socket.close();
            resolver.resolve4("me", (error, got) => { console.log(got[0]);
              resolver.resolve4("far.example", (error, got) => { console.log(got[0]);
                resolver.resolve4("six", (error) => console.log(error.code)); }); }); });
          socket.send(Buffer.alloc(3000, 9), ${echo.address().port}, "10.0.2.2");'`,
      );
      expect(output.trim().split("\n")).toEqual(["3000 9", "10.0.2.2", "192.0.2.77", "ESERVFAIL"]);
    } finally {
      guest.close();
      nat.close();
      echo.close();
      rmSync(folder, { recursive: true });
    }
  });

  test("a published port leads to the guest's server; one that nobody serves is closed", async () => {
    await withGuest(async (guest, nat) => {
      const open = await nat.publish({ address: "127.0.0.1", port: 0, guestPort: 8080 });
      const shut = await nat.publish({ address: "127.0.0.1", port: 0, guestPort: 8081 });
      const server = guest.start(NODE, [
        "-e",
        `require("node:http").createServer((q, r) => r.end("from the guest")).listen(8080, () => console.log("up"))`,
      ]);
      await new Promise((resolve) => server.stdout!.once("data", resolve));
      const body = await new Promise<string>((resolve, reject) => {
        get({ host: "127.0.0.1", port: open.port, agent: false }, (answer) => {
          let whole = "";
          answer.on("data", (bytes) => (whole += String(bytes)));
          answer.on("end", () => resolve(whole));
        }).on("error", reject);
      });
      expect(body).toBe("from the guest");
      const ended = await new Promise<string>((resolve) => {
        const socket = connect(shut.port, "127.0.0.1");
        socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
        socket.on("close", () => resolve("closed"));
      });
      expect(ended).toBe("ECONNRESET");
      await expect(nat.publish({ address: "127.0.0.1", port: open.port, guestPort: 1 })).rejects.toMatchObject({
        code: "UNAVAILABLE",
      });
      open.close();
    });
  });

  test("iperf3 both ways", async () => {
    await withGuest(async (guest) => {
      const { spawn } = await import("node:child_process");
      const server = spawn("iperf3", ["-s", "-B", "127.0.0.1", "-p", "35201", "--forceflush"], {
        stdio: ["ignore", "pipe", "ignore"],
      });
      try {
        await new Promise((resolve) => server.stdout.once("data", resolve));
        for (const direction of ["", "-R"]) {
          const { output } = await guest.run(`iperf3 -c 10.0.2.2 -p 35201 -t 1 -P 4 -J ${direction}`);
          const result = JSON.parse(output) as { error?: string; end: { sum_received: { bytes: number } } };
          expect(result.error).toBeUndefined();
          expect(result.end.sum_received.bytes).toBeGreaterThan(5 * MEGABYTE);
        }
      } finally {
        server.kill();
      }
    });
  });

  test("an MTU of 9000 is used, and tcpdump reads what was recorded", async () => {
    const folder = mkdtempSync(join(tmpdir(), "paravirt-nat-"));
    const path = join(folder, "record.pcap");
    let close = (): void => {};
    await withGuest(
      async (guest) => {
        const { output } = await guest.run(`curl -s http://10.0.2.2:${port}/100000 | wc -c`);
        expect(output.trim()).toBe("100000");
      },
      { allow: ["*"], mtu: 9000 },
      (nat) => {
        const file = openPcapFile(path, nat, (error) => expect.unreachable(error.message));
        close = () => file.close();
        return file.port;
      },
    );
    close();
    const { execFileSync } = await import("node:child_process");
    const text = execFileSync("tcpdump", ["-nr", path, "tcp"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    rmSync(folder, { recursive: true });
    expect(text).toMatch(/10\.0\.2\.15\.\d+ > 10\.0\.2\.2\.\d+: Flags \[S\], .*mss 8960/);
    expect(text).toMatch(/10\.0\.2\.2\.\d+ > 10\.0\.2\.15\.\d+: Flags \[S\.\], .*mss 8960/);
    expect(text).toMatch(/GET \/100000 HTTP|length 8960|Flags \[F\.\]/);
  });
});
