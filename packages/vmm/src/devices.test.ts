import { createXenbusBackend, type Device, type GuestPort } from "@paravirt/xenbus";
import { afterEach, expect, test } from "vitest";
import { createMachine, type Machine } from "./machine.ts";
import { assembleGuest } from "./mini/assemble-guest.ts";

const machines: Machine[] = [];

afterEach(async () => {
  for (const machine of machines.splice(0)) {
    await machine.close();
    expect(machine.error).toBeUndefined();
  }
});

/** A guest that never looks at its devices. */
const idle = assembleGuest(() => "forever: jmp forever");

function machineWith(): Machine {
  const machine = createMachine({ memory: 32 });
  machines.push(machine);
  return machine;
}

interface Recorder {
  readonly device: Device;
  readonly log: string[];
  guest(): GuestPort;
}

/** A device whose backend offers one node and writes down what happens to it. */
function recorder(id: number, { fails = false, slowClose = 0 } = {}): Recorder {
  const log: string[] = [];
  let port: GuestPort | undefined;
  const device: Device = {
    type: "vtest",
    id,
    frontend: { size: "7" },
    backend: { mode: "w" },
    async start(context) {
      port = context.guest;
      log.push(`start ${await context.store.read(`${context.path}/mode`)}`);
      if (fails) throw new Error("no such medium");
      const backend = await createXenbusBackend({
        store: context.store,
        path: context.path,
        offer: { "feature-test": "1" },
        connect: () => ({}),
        disconnect: () => {},
        onError: context.onError,
      });
      return {
        get state() {
          return backend.state;
        },
        unplug: () => backend.unplug(),
        async close() {
          await new Promise((resolve) => setTimeout(resolve, slowClose));
          await backend.close();
          log.push("closed");
        },
      };
    },
  };
  return { device, log, guest: () => port! };
}

test("a domain's devices have their nodes and backends before its first instruction, and let go before it is over", async () => {
  const machine = machineWith();
  const { device, log } = recorder(3, { slowClose: 20 });
  const domain = await machine.createDomain({ kernel: idle, memory: 8, paused: true, devices: [device] });
  const back = `/local/domain/0/backend/vtest/${domain.id}/3`;
  expect(machine.xenstore.read(`${back}/feature-test`)).toBe("1");
  expect(machine.xenstore.read(`${back}/state`)).toBe("2");
  expect(machine.xenstore.read(`/local/domain/${domain.id}/device/vtest/3/size`)).toBe("7");
  expect(domain.devices.map((attached) => attached.device)).toEqual([device]);
  domain.destroy();
  expect(machine.domains).toEqual([]);
  await domain.shutdown;
  expect(log).toEqual(["start w", "closed"]);
  expect(machine.xenstore.read(back)).toBeUndefined();
});

test("a device can be attached later, but not twice, and a guest that doesn't answer can't keep it", async () => {
  const machine = machineWith();
  const domain = await machine.createDomain({ kernel: idle, memory: 8 });
  const { device, log } = recorder(5);
  const attached = await domain.attach(device);
  expect(attached.connected).toBe(false);
  await expect(domain.attach(device)).rejects.toMatchObject({ code: "BUSY" });
  const asked = performance.now();
  expect(await attached.detach({ timeout: 100 })).toBe(false);
  expect(performance.now() - asked).toBeGreaterThan(90);
  expect(log).toEqual(["start w", "closed"]);
  expect(machine.xenstore.read(`/local/domain/0/backend/vtest/${domain.id}/5`)).toBeUndefined();
  expect(machine.xenstore.read(`/local/domain/${domain.id}/device/vtest/5`)).toBeUndefined();
  expect(domain.devices).toEqual([]);
  await domain.attach(recorder(5).device);
});

test("a backend that can't start leaves nothing behind: no device, and no domain that was to have it", async () => {
  const machine = machineWith();
  const domain = await machine.createDomain({ kernel: idle, memory: 8 });
  await expect(domain.attach(recorder(1, { fails: true }).device)).rejects.toThrow("no such medium");
  expect(domain.devices).toEqual([]);
  expect(machine.xenstore.read(`/local/domain/${domain.id}/device/vtest/1`)).toBeUndefined();
  const good = recorder(0);
  const devices = [good.device, recorder(1, { fails: true }).device];
  await expect(machine.createDomain({ kernel: idle, memory: 8, devices })).rejects.toThrow("no such medium");
  await machine.close();
  expect(good.log).toEqual(["start w", "closed"]);
});

test("a backend gets only what the guest granted to it", async () => {
  const machine = machineWith();
  const { device, guest } = recorder(0);
  await machine.createDomain({ kernel: idle, memory: 8, devices: [device] });
  for (const ref of [8, 511, 512, 1 << 30, -1, 0.5]) expect(guest().mapGrant(ref), `grant ${ref}`).toBeLessThan(0);
  // Grant 1 is the store's ring, which every guest grants.
  const ring = guest().mapGrant(1, { readOnly: true });
  expect(typeof ring === "object" && ring.bytes.length).toBe(4096);
  if (typeof ring === "object") ring.release();
  for (const port of [0, 3, 99, -1, 1e9])
    expect(
      guest().bindEventChannel(port, () => {}),
      `port ${port}`,
    ).toBeLessThan(0);
});

test("a domain that has ended takes no device", async () => {
  const machine = machineWith();
  const domain = await machine.createDomain({ kernel: idle, memory: 8 });
  domain.destroy();
  await expect(domain.attach(recorder(0).device)).rejects.toMatchObject({ code: "UNAVAILABLE" });
});
