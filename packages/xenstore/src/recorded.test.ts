import { readFileSync } from "node:fs";
import { XS } from "@paravirt/xen-abi";
import { expect, test } from "vitest";
import {
  addDevice,
  createXenstore,
  formatPermissions,
  populateDomain,
  populateHost,
  type Xenstore,
  type XenstoreMessage,
} from "./index.ts";
import { latin1Decode, latin1Encode } from "./text.ts";

/*
 * What Xen 4.17's xenstored and a Debian guest said to each other (its own trace), and what `xenstore-ls -fp` showed.
 * In both files a NUL is printed as a space.
 */
const recorded = (name: string): string[] =>
  readFileSync(new URL(`../testdata/${name}`, import.meta.url), "utf8")
    .trim()
    .split("\n");

const UUID = "d1f42bd4-b08f-47c7-884a-8ddcfda8f2bc";
const MAC = "00:16:3e:11:22:33";
const DISK = "/local/domain/0/backend/vbd/1/51712";
const NET = "/local/domain/0/backend/vif/1/0";

function addDisk(store: Xenstore): void {
  addDevice(store.local, {
    domid: 1,
    type: "vbd",
    id: 51712,
    frontend: { "virtual-device": "51712", "device-type": "disk", trusted: "1" },
    backend: {
      params: "/var/pv1.img",
      script: "/etc/xen/scripts/block",
      "frontend-id": "1",
      online: "1",
      removable: "0",
      bootable: "1",
      state: "1",
      dev: "xvda",
      type: "phy",
      mode: "w",
      "device-type": "disk",
      "discard-enable": "1",
      specification: "xen",
    },
  });
}

function addNetwork(store: Xenstore): void {
  addDevice(store.local, {
    domid: 1,
    type: "vif",
    id: 0,
    frontend: { handle: "0", mac: MAC, trusted: "1", mtu: "1500" },
    backend: {
      script: "/etc/xen/scripts/vif-bridge",
      mac: MAC,
      bridge: "xenbr0",
      handle: "0",
      type: "vif",
      "hotplug-status": "",
    },
  });
}

function createHost(vcpus: number, addDevices: (store: Xenstore) => void): Xenstore {
  const store = createXenstore();
  populateHost(store.local);
  populateDomain(store.local, {
    domid: 1,
    name: "pv1",
    uuid: UUID,
    memoryKiB: 262144,
    vcpus,
    store: { port: 1, frame: 723969 },
    console: { port: 2, frame: 723970 },
    tty: "/dev/pts/0",
    image: {
      kernel: "/guests/vmlinuz",
      ramdisk: "/guests/domu.cpio.gz",
      commandLine: "console=hvc0 earlyprintk=xen holdopen",
    },
    startTime: "1795390600.77",
    addDevices: () => addDevices(store),
  });
  return store;
}

function writeAll(store: Xenstore, path: string, nodes: Record<string, string>): void {
  for (const [name, value] of Object.entries(nodes)) store.local.write(`${path}/${name}`, value);
}

test("a domain without devices has the tree that xl made on Xen 4.17, node for node, in order, with permissions", () => {
  const store = createHost(1, () => {});
  for (const name of ["poweroff", "reboot", "suspend"]) {
    store.local.write(`/local/domain/1/control/feature-${name}`, "1"); // the guest's own writes
  }
  expect(tree(store)).toEqual(recorded("pv1-tree.txt").filter((line) => !/vbd|vif/.test(line)));
});

test("a second VCPU has its node, as on Xen 4.17", () => {
  const nodes = recorded("pv2-tree.txt").filter((line) => line.startsWith("/local/domain/1/cpu"));
  expect(tree(createHost(2, () => {})).filter((line) => line.startsWith("/local/domain/1/cpu"))).toEqual(nodes);
});

test("a disk and a network interface have the nodes that xl makes, with permissions", () => {
  const store = createHost(1, (it) => {
    addDisk(it);
    addNetwork(it);
  });
  const made = tree(store).filter((line) => /vbd|vif/.test(line) && !line.startsWith("/libxl"));
  const known = new Set(recorded("pv1-tree.txt").map((line) => line.replace(/(state|mtu) = "\d+" +\(.*/, "$1")));
  const missing = made
    .map((line) => line.replace(/(state|mtu) = "\d+" +\(.*/, "$1"))
    .filter((line) => !known.has(line) && !line.includes("hotplug-status"));
  expect(missing).toEqual([]);
  expect(tree(store).filter((line) => line.startsWith("/libxl"))).toEqual(
    sortLibxl(recorded("pv1-tree.txt").filter((line) => line.startsWith("/libxl"))),
  );
});

/** xl made the disk before the console and the network after it; the hook runs after both. */
function sortLibxl(lines: string[]): string[] {
  const at = (line: string): number => ["console", "vbd", "vif"].findIndex((type) => line.includes(`device/${type}`));
  const devices = lines.filter((line) => at(line) >= 0).sort((a, b) => at(a) - at(b));
  const rest = lines.filter((line) => at(line) < 0);
  return [...rest.slice(0, 3), ...devices, ...rest.slice(3)];
}

test("a Debian guest's whole conversation is answered word for word, event for event, as Xen 4.17 did", () => {
  const store = createHost(2, (it) => {
    addDisk(it);
    addNetwork(it);
  });
  // What the recorded backends had written by the time the guest came to them.
  writeAll(store, DISK, { "feature-max-indirect-segments": "256", "multi-queue-max-queues": "2" });
  writeAll(store, DISK, { "max-ring-page-order": "4", node: "/dev/loop0", "physical-device": "7:0" });
  writeAll(store, DISK, { "physical-device-path": "/dev/loop0", "hotplug-status": "connected", state: "2" });
  const features = ["sg", "gso-tcpv4", "gso-tcpv6", "ipv6-csum-offload", "rx-copy", "xdp-headroom"];
  store.local.remove(`${NET}/hotplug-status`);
  writeAll(store, NET, { "hotplug-status": "connected", state: "2" });
  writeAll(store, NET, Object.fromEntries(features.map((name) => [`feature-${name}`, "1"])));
  writeAll(store, NET, { "feature-rx-flip": "0", "feature-multicast-control": "1" });
  writeAll(store, NET, { "feature-dynamic-multicast-control": "1", "feature-split-event-channels": "1" });
  writeAll(store, NET, { "multi-queue-max-queues": "2", "feature-ctrl-ring": "1" });

  const heard: XenstoreMessage[] = [];
  const guest = store.connect(1, (message) => heard.push(message));
  const lines = recorded("boot-conversation.txt");
  let transaction = 0;
  let requests = 0;
  const expected: string[] = [];
  const answered: string[] = [];
  for (const line of lines) {
    const [, direction, name, text] = /^(IN|OUT) (\w+) \((.*)\)$/.exec(line)!;
    if (direction === "OUT") {
      expected.push(`${name} ${text}`);
      // The backends' own steps, where the recording shows their event arrive.
      if (name === "WATCH_EVENT" && text!.startsWith(DISK) && expected.filter((it) => it.includes(DISK)).length > 2) {
        const tail = { sectors: "32768", info: "0", "sector-size": "512", "physical-sector-size": "512" };
        writeAll(store, DISK, { ...tail, "feature-barrier": "1", "feature-flush-cache": "1", "feature-discard": "1" });
        writeAll(store, DISK, { "discard-granularity": "4096", "discard-alignment": "0", "discard-secure": "0" });
        writeAll(store, DISK, { "feature-persistent": "1", state: "4" });
      }
      if (name === "WATCH_EVENT" && text!.startsWith(NET) && expected.filter((it) => it.includes(NET)).length > 2) {
        writeAll(store, NET, { state: "4" });
      }
      continue;
    }
    const type = XS[name as keyof typeof XS];
    const inTransaction = !["WATCH", "TRANSACTION_START"].includes(name!) && transaction !== 0;
    guest.handle({
      type,
      requestId: ++requests,
      transactionId: inTransaction ? transaction : 0,
      body: latin1Encode(name === "WRITE" ? text!.replace(" ", "\0") : text!.replaceAll(" ", "\0")),
    });
    if (name === "TRANSACTION_START") transaction = Number(latin1Decode(heard.at(-1)!.body).slice(0, -1));
    if (name === "TRANSACTION_END") transaction = 0;
  }
  for (const message of heard) {
    const name = Object.entries(XS).find(([, type]) => type === message.type)![0];
    answered.push(`${name} ${latin1Decode(message.body).replaceAll("\0", " ")}`);
  }
  expect(answered).toEqual(expected);
});

function tree(store: Xenstore, path = ""): string[] {
  const lines: string[] = [];
  for (const name of store.local.list(path === "" ? "/" : path) ?? []) {
    const node = `${path}/${name}`;
    const permissions = formatPermissions(store.local.permissions(node)!);
    lines.push(`${node} = "${store.local.read(node)}"   (${permissions})`, ...tree(store, node));
  }
  return lines;
}
