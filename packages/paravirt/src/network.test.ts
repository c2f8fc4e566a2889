import { debianGuest } from "@paravirt/host-node";
import { createHub } from "@paravirt/net";
import { createVif } from "@paravirt/netback";
import { createMachine, type Machine } from "@paravirt/vmm";
import { expect, test } from "vitest";
import { createCable, disturb, startScript } from "../test/network-guest.ts";

// Linux's own driver and TCP against our backend: two guests, a cable or a hub between them.

/** A guest's boot takes seconds of processor time, and others may want the processor too. */
const SLOW = { timeout: 600_000 };

async function withMachine(memory: number, work: (machine: Machine) => Promise<void>): Promise<void> {
  const machine = createMachine({ memory });
  try {
    await work(machine);
  } finally {
    await machine.close();
  }
  expect(machine.error).toBeUndefined();
}

/** Makes a file of random bytes, says its sum, and serves it until the machine ends. */
const SERVE = (megabytes: number) =>
  `mkdir /www; head -c ${megabytes}m /dev/urandom >/www/file; echo ok >/www/ready
  echo "sum $(sha256sum </www/file)"; httpd -h /www; sleep 1000`;
const AWAIT = "until wget -q -O /dev/null http://10.0.0.1/ready 2>/dev/null; do sleep 0.2; done";
const FETCH = `echo "sum $(wget -q -O - http://10.0.0.1/file | sha256sum)"`;

function sumIn(output: string): string {
  return /sum ([0-9a-f]{64})/.exec(output)?.[1] ?? "none";
}

test("frames lost, doubled and out of order cost no data, large segments are cut in time", SLOW, async () => {
  const guest = await debianGuest();
  await withMachine(340, async (machine) => {
    const [left, right] = createCable({ takesOffloads: false });
    const { port, counts } = disturb(right, { loss: 0.01, reordering: 0.02, duplication: 0.01 });
    const server = createVif({ port: left, mac: "00:16:3e:00:00:01" });
    const client = createVif({ port, mac: "00:16:3e:00:00:02" });
    const serving = await startScript(machine, guest, {
      script: SERVE(2),
      devices: [server],
      networks: ["eth0:10.0.0.1/24"],
    });
    const fetching = await startScript(machine, guest, {
      script: `${AWAIT}; ${FETCH}; cat /proc/net/snmp`,
      devices: [client],
      networks: ["eth0:10.0.0.2/24"],
    });
    expect(await fetching.ended).toBe(0);
    expect(sumIn(fetching.output)).toBe(sumIn(serving.output));
    expect(counts.lost).toBeGreaterThan(5);
    expect(counts.reordered).toBeGreaterThan(5);
    expect(counts.doubled).toBeGreaterThan(5);
    // No segment came with a wrong checksum.
    const tcp = /Tcp: [0-9 -]+\n/.exec(fetching.output)![0].split(" ");
    expect(tcp[14]).toBe("0");
    // The sender's segments were large, the wire's were not.
    expect(server.statistics.sentBytes / server.statistics.sentFrames).toBeGreaterThan(3000);
    expect(client.statistics.receivedBytes / client.statistics.receivedFrames).toBeLessThan(1515);
  });
});

test("guests on a hub reach each other and can't be another; cards come and go; cables too", SLOW, async () => {
  const guest = await debianGuest();
  await withMachine(340, async (machine) => {
    const hub = createHub({ filter: true });
    const left = hub.addPort({ mac: "00:16:3e:00:00:01", addresses: ["10.0.0.1"] });
    const right = hub.addPort({ mac: "00:16:3e:00:00:02", addresses: ["10.0.0.2"] });
    const [plugged, other] = createCable();
    const server = createVif({ port: left, mac: "00:16:3e:00:00:01" });
    const client = createVif({ port: right, mac: "00:16:3e:00:00:02" });
    await startScript(machine, guest, {
      script: SERVE(4),
      devices: [server, createVif({ port: other, mac: "00:16:3e:00:00:04", id: 1 })],
      networks: ["eth0:10.0.0.1/24", "eth1:10.0.1.1/24"],
      vcpus: 2,
    });
    const script = `${AWAIT}
      echo "queues $(ls -d /sys/class/net/eth0/queues/rx-*) mac $(cat /sys/class/net/eth0/address)"
      ${FETCH}
      ping -c 1 -s 20000 -W 5 10.0.0.1 >/dev/null && echo "long ping: yes"
      ping_server() { ping -c 1 -W 1 "$@" 10.0.0.1 >/dev/null; }
      ip addr add 10.0.0.9/24 dev eth0
      ping_server -I 10.0.0.9 || echo "foreign address: refused"
      card() { ip link set eth0 down; ip link set eth0 address "00:16:3e:00:00:$1"; ip link set eth0 up; }
      card 99; ping_server || echo "foreign card: refused"
      card 02; until ping_server; do :; done; echo "own card: yes"
      echo "plug now"; until [ -e /sys/class/net/eth1 ]; do sleep 0.1; done
      ip addr add 10.0.1.2/24 dev eth1; ip link set eth1 up; ping -c 1 -W 5 10.0.1.1 >/dev/null && echo "second card: yes"
      echo "unplug now"; while [ -e /sys/class/net/eth1 ]; do sleep 0.1; done
      echo "pull now"; while ping_server; do sleep 0.1; done; echo "pulled: silent"
      echo "push now"; until ping_server; do :; done; echo "pushed: there"`;
    const fetching = await startScript(machine, guest, {
      script,
      devices: [client],
      networks: ["eth0:10.0.0.2/24"],
      vcpus: 2,
    });
    await fetching.said("plug now");
    const attached = await fetching.domain.attach(createVif({ port: plugged, mac: "00:16:3e:00:00:03", id: 1 }));
    await fetching.said("unplug now");
    expect(attached.connected).toBe(true);
    expect(await attached.detach()).toBe(true);
    await fetching.said("pull now");
    await client.setLink(false);
    await fetching.said("push now");
    await client.setLink(true);
    expect(await fetching.ended).toBe(0);
    const { output } = fetching;
    expect(output).toContain(
      "queues /sys/class/net/eth0/queues/rx-0\n/sys/class/net/eth0/queues/rx-1 mac 00:16:3e:00:00:02",
    );
    for (const line of [
      "long ping: yes",
      "foreign address: refused",
      "foreign card: refused",
      "own card: yes",
      "second card: yes",
      "pulled: silent",
      "pushed: there",
    ])
      expect(output).toContain(line);
    expect(right.statistics.filtered).toBeGreaterThan(2);
    // Large segments went from guest to guest as they were.
    expect(client.statistics.receivedBytes / client.statistics.receivedFrames).toBeGreaterThan(3000);
    expect(client.statistics.receiveDrops).toBeLessThan(20);
  });
});
