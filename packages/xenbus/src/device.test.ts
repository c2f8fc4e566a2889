import { XENBUS_STATE } from "@paravirt/xen-abi";
import { expect, test, vi } from "vitest";
import { createDeviceStore } from "../test/device-store.ts";
import {
  createXenbusBackend,
  createXenbusFrontend,
  isXenbusTransition,
  openXenbusEnd,
  parseXenbusState,
  xenbusStateName,
} from "./index.ts";

const BACK = "/local/domain/0/backend/vbd/1/51712";
const FRONT = "/local/domain/1/device/vbd/51712";

function createDevice() {
  const { store, toolstack, guest } = createDeviceStore({
    type: "vbd",
    id: 51712,
    frontend: {},
    backend: { mode: "w" },
  });
  const states: string[] = [];
  for (const [name, path] of [
    ["back", BACK],
    ["front", FRONT],
  ] as const) {
    store.local.watch(`${path}/state`, () => states.push(`${name} ${store.local.read(`${path}/state`)}`));
  }
  states.length = 0;
  const log: string[] = [];
  const errors: unknown[] = [];
  const startBackend = (connect?: () => never) =>
    createXenbusBackend({
      store: toolstack,
      path: BACK,
      offer: { "feature-flush-cache": "1" },
      connect:
        connect ??
        (async (end) => {
          log.push(`connect ring ${await end.readOther("ring-ref")}`);
          return { sectors: "2048" };
        }),
      disconnect: () => {
        log.push("disconnect");
      },
      onError: (error) => errors.push(error),
    });
  const startFrontend = () =>
    createXenbusFrontend({
      store: guest,
      path: "device/vbd/51712",
      offer: async (end) => {
        log.push(`flush ${await end.readOther("feature-flush-cache")}`);
        return { "ring-ref": "8", "event-channel": "9" };
      },
      connected: async (end) => {
        log.push(`sectors ${await end.readOther("sectors")}`);
      },
      disconnected: () => {
        log.push("gone");
      },
      onError: (error) => errors.push(error),
    });
  return { store, states, log, errors, startBackend, startFrontend, toolstack, guest };
}

test("both ends go through their states to Connected, each reading what the other wrote before", async () => {
  const device = createDevice();
  const back = await device.startBackend();
  const front = await device.startFrontend();
  await vi.waitFor(() => expect([back.state, front.state]).toEqual([4, 4]));
  expect(device.states).toEqual(["back 2", "front 3", "back 4", "front 4"]);
  expect(device.log).toEqual(["flush 1", "connect ring 8", "sectors 2048"]);
  expect(device.errors).toEqual([]);
});

test("a frontend that starts first waits for its backend", async () => {
  const device = createDevice();
  const front = await device.startFrontend();
  const back = await device.startBackend();
  await vi.waitFor(() => expect([back.state, front.state]).toEqual([4, 4]));
});

test("unplugging goes through Closing to Closed at both ends and lets go once", async () => {
  const device = createDevice();
  const back = await device.startBackend();
  const front = await device.startFrontend();
  await vi.waitFor(() => expect(front.state).toBe(4));
  await back.unplug();
  await vi.waitFor(() => expect([back.state, front.state]).toEqual([6, 6]));
  expect(device.log.slice(3).sort()).toEqual(["disconnect", "gone"]);
  expect(device.store.local.read(`${BACK}/online`)).toBe("0");
});

test("a frontend that lets go and comes again is connected again", async () => {
  const device = createDevice();
  const back = await device.startBackend();
  const first = await device.startFrontend();
  await vi.waitFor(() => expect(first.state).toBe(4));
  await first.close();
  await vi.waitFor(() => expect(back.state).toBe(6));
  const second = await device.startFrontend();
  await vi.waitFor(() => expect([back.state, second.state]).toEqual([4, 4]));
  expect(device.log.filter((line) => line.startsWith("connect"))).toHaveLength(2);
  expect(device.log.filter((line) => line === "disconnect")).toHaveLength(1);
  expect(device.errors).toEqual([]);
});

test("a frontend whose nodes vanish is let go", async () => {
  const device = createDevice();
  const back = await device.startBackend();
  const front = await device.startFrontend();
  await vi.waitFor(() => expect(front.state).toBe(4));
  device.store.local.remove(FRONT);
  await vi.waitFor(() => expect(back.state).toBe(6));
  expect(device.log).toContain("disconnect");
});

test("a backend whose connect fails says why in its error node and closes; the host goes on", async () => {
  const device = createDevice();
  const back = await device.startBackend(() => {
    throw new Error("grant 8 can't be mapped");
  });
  await device.startFrontend();
  await vi.waitFor(() => expect(back.state).toBeGreaterThanOrEqual(5));
  expect(device.store.local.read(`${BACK}/error`)).toBe("grant 8 can't be mapped");
  expect(device.errors).toEqual([expect.objectContaining({ message: "grant 8 can't be mapped" })]);
});

test("a guest that writes nonsense into its state changes nothing", async () => {
  const device = createDevice();
  const back = await device.startBackend();
  const front = await device.startFrontend();
  await vi.waitFor(() => expect(front.state).toBe(4));
  for (const state of ["4", "8", "7"]) await device.guest.write(`${FRONT}/state`, state);
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(back.state).toBe(4);
  expect(device.log).not.toContain("disconnect");
});

test("closing a backend disconnects, leaves Closed and hears nothing more", async () => {
  const device = createDevice();
  const back = await device.startBackend();
  const front = await device.startFrontend();
  await vi.waitFor(() => expect(front.state).toBe(4));
  await back.close();
  expect(device.store.local.read(`${BACK}/state`)).toBe("6");
  expect(device.log).toContain("disconnect");
});

test("a device that was removed is not brought back by a change of state", async () => {
  const { store, toolstack } = createDevice();
  const end = await openXenbusEnd({
    store: toolstack,
    path: BACK,
    otherEnd: "frontend",
    onOtherState() {},
    onError() {},
  });
  store.local.remove(BACK);
  await end.switchTo(XENBUS_STATE.InitWait);
  expect(store.local.list(BACK)).toBeUndefined();
  await end.close();
});

test("a device without nodes is refused by name", async () => {
  const { toolstack } = createDevice();
  const options = { store: toolstack, otherEnd: "frontend" as const, onOtherState() {}, onError() {} };
  await expect(openXenbusEnd({ ...options, path: "/none" })).rejects.toThrow(
    "/none/frontend is missing: no such device",
  );
});

test("a step that there isn't is refused and named", async () => {
  const { toolstack } = createDevice();
  const end = await openXenbusEnd({
    store: toolstack,
    path: BACK,
    otherEnd: "frontend",
    onOtherState() {},
    onError() {},
  });
  await expect(end.switchTo(XENBUS_STATE.Reconfigured)).rejects.toThrow(
    `${BACK} can't go from Initialising to Reconfigured`,
  );
  await end.close();
});

test("states have Xen's names and numbers, and anything else is Unknown", () => {
  expect([parseXenbusState("4"), parseXenbusState("9"), parseXenbusState("x"), parseXenbusState(undefined)]).toEqual([
    4, 0, 0, 0,
  ]);
  expect(xenbusStateName(2)).toBe("InitWait");
  expect([isXenbusTransition(6, 4), isXenbusTransition(6, 2)]).toEqual([false, true]);
});
