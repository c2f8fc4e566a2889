// A xenstore with one domain and one device in it, for tests of backends.
import {
  addDevice,
  createXenstore,
  createXenstoreClient,
  localLink,
  populateDomain,
  type Xenstore,
  type XenstoreClient,
} from "@paravirt/xenstore";
import type { Device } from "../src/device.ts";

/** The store, and the nodes of the device's two ends. */
export interface DeviceStore {
  readonly store: Xenstore;
  /** Path of the backend's nodes. */
  readonly back: string;
  /** Path of the frontend's nodes. */
  readonly front: string;
  /** A client with domain 0's rights. */
  readonly toolstack: XenstoreClient;
  /** A client with the rights of domain 1. */
  readonly guest: XenstoreClient;
  /** A node of the backend. */
  readBack(name: string): string | undefined;
  /** A node of the frontend. */
  readFront(name: string): string | undefined;
  /** Writes a node of the frontend, as a guest's driver may. */
  writeFront(name: string, value: string): void;
}

/** Makes a store in which domain 1 has `device`. */
export function createDeviceStore(device: Pick<Device, "type" | "id" | "frontend" | "backend">): DeviceStore {
  const store = createXenstore();
  const { type, id, frontend, backend } = device;
  const ring = { port: 1, frame: 1 };
  populateDomain(store.local, {
    domid: 1,
    name: "guest",
    uuid: "00000000-0000-0000-0000-000000000001",
    memoryKiB: 1024,
    vcpus: 1,
    store: ring,
    console: ring,
  });
  addDevice(store.local, { domid: 1, type, id, frontend, backend });
  const back = `/local/domain/0/backend/${type}/1/${id}`;
  const front = `/local/domain/1/device/${type}/${id}`;
  return {
    store,
    back,
    front,
    toolstack: createXenstoreClient(localLink(store, 0)),
    guest: createXenstoreClient(localLink(store, 1)),
    readBack: (name) => store.local.read(`${back}/${name}`),
    readFront: (name) => store.local.read(`${front}/${name}`),
    writeFront: (name, value) => store.local.write(`${front}/${name}`, value),
  };
}
