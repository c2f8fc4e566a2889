import { type DomId, ParavirtError } from "@paravirt/core";
import { type Domain, type Hypervisor, mapGrant } from "@paravirt/hypervisor";
import { XENBUS_STATE } from "@paravirt/xen-abi";
import type { Device, GuestPort, XenbusBackend } from "@paravirt/xenbus";
import {
  addDevice,
  createXenstoreClient,
  type DeviceNodes,
  localLink,
  removeDeviceNodes,
  type Xenstore,
  type XenstoreClient,
} from "@paravirt/xenstore";

/** A device that a domain has. */
export interface AttachedDevice {
  /** What was attached. */
  readonly device: Device;
  /** Whether the guest's driver uses it now. */
  readonly connected: boolean;
  /**
   * Takes it away. The guest is asked first and given `timeout` milliseconds (10,000 when left out) to let go; 0 pulls
   * it out at once. Resolves with whether the guest agreed; its nodes are gone in either case. Calling it again waits for
   * the first call.
   */
  detach(options?: { readonly timeout?: number }): Promise<boolean>;
}

const POLL_MS = 10;

/** The devices of one domain. */
export class DomainDevices {
  private readonly attached = new Map<string, Attached>();
  private readonly domain: Domain;
  private readonly hypervisor: Hypervisor;
  private readonly store: Xenstore;
  private readonly kick: () => void;
  private closed = false;

  constructor(domain: Domain, host: { hypervisor: Hypervisor; store: Xenstore; kick: () => void }) {
    this.domain = domain;
    this.hypervisor = host.hypervisor;
    this.store = host.store;
    this.kick = host.kick;
  }

  /** Writes a device's nodes; its backend is still to be started. Throws `BUSY` when the domain has such a device. */
  add(device: Device): Attached {
    const key = `${device.type}/${device.id}`;
    if (this.attached.has(key)) throw new ParavirtError("BUSY", `domain ${this.domain.id} has a ${key} already`);
    const nodes: DeviceNodes = { domid: this.domain.id, ...device };
    const attached = new Attached(device, this.domain, this.store, () => {
      this.attached.delete(key);
      removeDeviceNodes(this.store.local, nodes);
    });
    addDevice(this.store.local, nodes);
    this.attached.set(key, attached);
    return attached;
  }

  /** Starts the backend of a device that was added; when that fails the device is gone again. */
  async start(attached: Attached): Promise<void> {
    const { domain, hypervisor, kick } = this;
    try {
      await attached.start(guestPort(domain, hypervisor, kick), (error) => {
        const { type, id } = attached.device;
        hypervisor.log(domain.id, `${type}/${id}: ${error instanceof Error ? error.message : String(error)}\n`);
      });
    } catch (error) {
      await attached.close();
      throw error;
    }
    if (this.closed) await attached.close();
    kick();
  }

  /** All of them. */
  list(): readonly AttachedDevice[] {
    return [...this.attached.values()];
  }

  /** Ends all backends: the domain is gone. Resolves when each has given up what it had. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([...this.attached.values()].map((attached) => attached.close()));
  }
}

class Attached implements AttachedDevice {
  readonly device: Device;
  private readonly domain: Domain;
  private readonly client: XenstoreClient;
  private readonly forget: () => void;
  private backend: XenbusBackend | undefined;
  private ending: Promise<boolean> | undefined;
  private onError: (error: unknown) => void = () => {};

  constructor(device: Device, domain: Domain, store: Xenstore, forget: () => void) {
    this.device = device;
    this.domain = domain;
    this.client = createXenstoreClient(localLink(store, 0));
    this.forget = forget;
  }

  get connected(): boolean {
    return this.backend?.state === XENBUS_STATE.Connected;
  }

  async start(guest: GuestPort, onError: (error: unknown) => void): Promise<void> {
    this.onError = onError;
    const { type, id } = this.device;
    this.backend = await this.device.start({
      guest,
      store: this.client,
      path: `/local/domain/0/backend/${type}/${this.domain.id}/${id}`,
      onError,
    });
  }

  detach({ timeout = 10_000 }: { readonly timeout?: number } = {}): Promise<boolean> {
    this.ending ??= this.end(timeout);
    return this.ending;
  }

  /** Ends it without asking the guest. */
  async close(): Promise<void> {
    await this.detach({ timeout: 0 });
  }

  private async end(timeout: number): Promise<boolean> {
    const { backend } = this;
    let agreed = false;
    try {
      if (backend !== undefined && timeout > 0) {
        await backend.unplug();
        const until = performance.now() + timeout;
        agreed = backend.state === XENBUS_STATE.Closed;
        while (!agreed && !this.domain.dying && performance.now() < until) {
          await new Promise((resolve) => setTimeout(resolve, POLL_MS));
          agreed = backend.state === XENBUS_STATE.Closed;
        }
      }
      await backend?.close();
    } catch (error) {
      this.onError(error);
    }
    this.forget();
    this.client.close();
    return agreed;
  }
}

/** What backends may do to `domain`. */
function guestPort(domain: Domain, hypervisor: Hypervisor, kick: () => void): GuestPort {
  return {
    domid: domain.id as DomId,
    mapGrant: (ref, options) => mapGrant(domain, ref, options),
    bindEventChannel: (port, listener) => domain.events.bindHost(port, listener),
    later(work) {
      hypervisor.queueListener(work);
      kick();
    },
  };
}
