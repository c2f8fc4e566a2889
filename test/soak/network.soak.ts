import { debianGuest, hostFileArchive, nodeNetworkHost } from "@paravirt/host-node";
import { createNat } from "@paravirt/net";
import { createVif } from "@paravirt/netback";
import { createMachine } from "@paravirt/vmm";
import { expect, test } from "vitest";
import { disturb, startScript } from "../../packages/paravirt/test/network-guest.ts";
import { fileSum, startIperf, startWebServer } from "../../packages/paravirt/test/network-servers.ts";

// Ten minutes of network: what a short test can't meet.

test("hours of loss, reordering and doubled frames, shortened: every sum matches", async () => {
  const guest = await debianGuest();
  const web = await startWebServer();
  const nat = createNat({ host: nodeNetworkHost(), allow: ["*"] });
  const machine = createMachine({ memory: 300 });
  const sum = fileSum(8);
  try {
    for (const disturbance of [
      { loss: 0.001, reordering: 0.2 },
      { loss: 0.05, reordering: 0 },
      { loss: 0, reordering: 0.5, duplication: 0.3 },
      { loss: 0.1, reordering: 0.1, duplication: 0.1 },
    ]) {
      const { port, counts } = disturb(nat.port, disturbance);
      const running = await startScript(machine, guest, {
        script: `for turn in 1 2 3; do wget -q -O - http://10.0.2.2:${web.port}/file/8 | md5sum; done`,
        devices: [createVif({ port, mac: "00:16:3e:00:00:01" })],
        networks: ["eth0:10.0.2.15/24,10.0.2.2"],
      });
      expect(await running.ended).toBe(0);
      expect(running.output, JSON.stringify({ ...disturbance, ...counts })).toBe(`${sum}  -\n`.repeat(3));
    }
  } finally {
    await machine.close();
    nat.close();
    web.close();
  }
});

test("connections by the thousand come and go, and nothing of them stays", async () => {
  const guest = await debianGuest();
  const web = await startWebServer();
  const nat = createNat({ host: nodeNetworkHost(), allow: ["*"] });
  const machine = createMachine({ memory: 300 });
  try {
    const vif = createVif({ port: nat.port, mac: "00:16:3e:00:00:01" });
    // On a busy host 200 processes can keep the guest from hearing its gateway for the three seconds that ARP has: it
    // finds no route then, and has to try again.
    const script = `
      fetch() { until wget -q -O - http://10.0.2.2:${web.port}/together/200/$1 >>/tmp/all; do sleep 1; done; }
      for round in $(seq 10); do
        for n in $(seq 200); do fetch $n & done; wait
      done
      wc -l </tmp/all; sleep 70`;
    const running = await startScript(machine, guest, {
      script,
      devices: [vif],
      networks: ["eth0:10.0.2.15/24,10.0.2.2"],
    });
    expect(await running.ended).toBe(0);
    expect(running.output.split("\n").at(-2)).toBe("2000");
    expect(vif.statistics.sendErrors).toBe(0);
    expect(nat.statistics.connections).toBe(0);
  } finally {
    await machine.close();
    nat.close();
    web.close();
  }
});

test("iperf3 in both directions at once, many streams, two processors, for two minutes", async () => {
  const guest = await debianGuest();
  const iperf = await startIperf();
  const nat = createNat({ host: nodeNetworkHost(), allow: ["*"] });
  const machine = createMachine({ memory: 300 });
  try {
    const running = await startScript(machine, guest, {
      script: `iperf3 -c 10.0.2.2 -p ${iperf.port} -P 8 --bidir -t 120 >/tmp/log && tail -n 12 /tmp/log`,
      devices: [createVif({ port: nat.port, mac: "00:16:3e:00:00:01" })],
      networks: ["eth0:10.0.2.15/24,10.0.2.2"],
      vcpus: 2,
      archives: [hostFileArchive([{ hostPath: "/usr/bin/iperf3" }], { initrd: guest.initramfs })],
    });
    expect(await running.ended).toBe(0);
    expect(running.output).toContain("iperf Done.");
  } finally {
    await machine.close();
    nat.close();
    iperf.close();
  }
});
