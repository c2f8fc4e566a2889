import { spawn } from "node:child_process";
import { debianGuest, hostFileArchive, nodeNetworkHost } from "@paravirt/host-node";
import { createNat, type NetworkHost } from "@paravirt/net";
import { createVif } from "@paravirt/netback";
import { createMachine } from "@paravirt/vmm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { disturb, startScript } from "../test/network-guest.ts";
import {
  fetchSum,
  fileSum,
  freePort,
  startIperf,
  startNameServer,
  startWebServer,
  type WebServer,
} from "../test/network-servers.ts";

// Programs in a guest against servers on the host's loopback, through the user-mode network.

/** A guest's boot takes seconds of processor time, and others may want the processor too. */
const SLOW = { timeout: 600_000 };

let web: WebServer;

beforeAll(async () => {
  web = await startWebServer();
});
afterAll(() => web.close());

/** Runs a program of the host and answers what it printed. */
function run(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => resolve(output));
  });
}

/** This machine's network, with a name server of our own at its port 53. */
function hostWithNameServer(port: number): NetworkHost {
  const host = nodeNetworkHost();
  return {
    ...host,
    nameServers: () => ["127.0.0.1"],
    localAddresses: () => [],
    openDatagrams: (address, to, handler) => host.openDatagrams(address, to === 53 ? port : to, handler),
  };
}

test("100 MB arrive whole, 200 connections stay open at once, iperf3, names, published servers", SLOW, async () => {
  const guest = await debianGuest();
  const iperf = await startIperf();
  const names = await startNameServer({ "host.example": "10.0.2.2", "other.example": "192.0.2.7" });
  const nat = createNat({ host: hostWithNameServer(names.port), allow: ["*"] });
  const published = await nat.publish({ address: "127.0.0.1", port: 0, guestPort: 8080 });
  // iperf3 has its words by TCP and its data by UDP, at the same port.
  const iperfPort = await freePort();
  for (const protocol of ["tcp", "udp"] as const)
    await nat.publish({ address: "127.0.0.1", port: iperfPort, guestPort: 5201, protocol });
  const machine = createMachine({ memory: 200 });
  try {
    const vif = createVif({ port: nat.port, mac: "00:16:3e:00:00:01" });
    const script = `
      echo "download $(wget -q -O - http://10.0.2.2:${web.port}/file/100 | md5sum)"
      for n in $(seq 200); do wget -q -O - http://10.0.2.2:${web.port}/together/200/$n >>/tmp/all & done; wait
      echo "together $(sort -n /tmp/all | uniq | wc -l) $(tail -n 1 /tmp/all | wc -l)"
      iperf3 -c 10.0.2.2 -p ${iperf.port} -n 20M >/tmp/sent && echo "iperf sent: yes"
      iperf3 -c 10.0.2.2 -p ${iperf.port} -n 20M -R >/tmp/got && echo "iperf received: yes"
      iperf3 -c 10.0.2.2 -p ${iperf.port} -u -b 20M -n 2M >/tmp/udp && echo "iperf datagrams: yes"
      echo "name $(nslookup other.example | grep 192)"
      nslookup missing.example >/dev/null || echo "no such name"
      echo "by name $(wget -q -O - http://host.example:${web.port}/hello)"
      ping -c 1 -W 5 10.0.2.2 >/dev/null && echo "ping: yes"
      iperf3 -s -p 5201 >/tmp/served &
      mkdir /www; head -c 5m /dev/urandom >/www/file
      httpd -p 8080 -h /www; echo "serving $(md5sum </www/file)"
      sleep 1000`;
    const running = await startScript(machine, guest, {
      script,
      devices: [vif],
      networks: ["dhcp"],
      archives: [hostFileArchive([{ hostPath: "/usr/bin/iperf3" }], { initrd: guest.initramfs })],
    });
    await running.said("serving ");
    const { output } = running;
    expect(output).toContain(`download ${fileSum(100)}`);
    expect(output).toContain("together 200 1");
    for (const line of ["iperf sent: yes", "iperf received: yes", "iperf datagrams: yes", "no such name", "ping: yes"])
      expect(output).toContain(line);
    expect(output).toMatch(/name .*Address: 192\.0\.2\.7/);
    expect(output).toContain("by name /hello");
    const sum = /serving ([0-9a-f]{32})/.exec(output)![1];
    const url = `http://127.0.0.1:${published.port}/file`;
    expect(await Promise.all([fetchSum(url), fetchSum(url), fetchSum(url)])).toEqual([sum, sum, sum]);
    for (const direction of [[], ["-R"]])
      expect(
        await run("iperf3", ["-c", "127.0.0.1", "-p", `${iperfPort}`, "-u", "-b", "4M", "-n", "400K", ...direction]),
      ).toMatch(/\(0%\) +receiver/);
    expect(vif.statistics.sendErrors).toBe(0);
  } finally {
    await machine.close();
    nat.close();
    names.close();
    iperf.close();
  }
  expect(machine.error).toBeUndefined();
});

test("loss, reordering and doubled frames on the way to the NAT lose no data, either way", SLOW, async () => {
  const guest = await debianGuest();
  const nat = createNat({ host: nodeNetworkHost(), allow: ["10.0.2.2"] });
  const { port, counts } = disturb(nat.port, { loss: 0.02, reordering: 0.03, duplication: 0.02 });
  const machine = createMachine({ memory: 200 });
  try {
    const vif = createVif({ port, mac: "00:16:3e:00:00:01" });
    const script = `
      echo "download $(wget -q -O - http://10.0.2.2:${web.port}/file/4 | tee /tmp/file | md5sum)"
      (printf "POST /upload HTTP/1.0\\r\\nContent-Length: $(wc -c </tmp/file)\\r\\n\\r\\n"; cat /tmp/file) |
        nc 10.0.2.2 ${web.port} | tail -n 1`;
    const running = await startScript(machine, guest, {
      script,
      devices: [vif],
      networks: ["eth0:10.0.2.15/24,10.0.2.2"],
    });
    expect(await running.ended).toBe(0);
    expect(running.output).toBe(`download ${fileSum(4)}  -\ntaken\n`);
    expect(web.uploads).toEqual([fileSum(4)]);
    expect(counts.lost).toBeGreaterThan(3);
    expect(counts.reordered).toBeGreaterThan(3);
  } finally {
    await machine.close();
    nat.close();
  }
});

const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;

/** Runs the built command line while this process goes on to serve. */
function paravirt(args: readonly string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args], { stdio: ["ignore", "pipe", "pipe"], timeout: 280_000 });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      stderr += text;
    });
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, stdout, stderr }));
  });
}

test("run debian --net user,allow='*' -- wget fetches from a server on the host's loopback", SLOW, async () => {
  const page = `http://10.0.2.2:${web.port}/page`;
  const { status, stdout, stderr } = await paravirt([
    "run",
    "debian",
    "--net",
    "user,allow=*",
    "--",
    "wget",
    "-qO-",
    page,
  ]);
  expect([stdout, stderr, status]).toEqual(["/page\n", "", 0]);
});

test("without allow=, --net user leads nowhere, and without --net there is no card", SLOW, async () => {
  const script = `ls /sys/class/net; wget -qO- http://10.0.2.2:${web.port}/page`;
  const closed = await paravirt(["run", "debian", "--net", "user", "--", "sh", "-c", script]);
  expect(closed.stdout).toBe("eth0\nlo\n");
  expect(closed.status).toBe(1);
  const none = await paravirt(["run", "debian", "--", "ls", "/sys/class/net"]);
  expect(none.stdout).toBe("lo\n");
});
