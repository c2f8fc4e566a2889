import type { SharedFolder } from "@paravirt/boot";
import type { Device } from "@paravirt/xenbus";

/** A device that an option asks for: parsed, and not yet opened. */
export interface DeviceRequest {
  /** What it is, since that decides what a Debian guest's initramfs must be able to do. */
  readonly kind: "disk" | "network" | "share";
  /** How the generated `/init` mounts it, for a share. */
  readonly share?: SharedFolder;
  /** How the generated `/init` configures it, for a network: `dhcp`, `eth0:dhcp`, `eth1:192.168.7.2/24`. */
  readonly network?: string;
  /** Opens files, sockets and locks. Throws what the user is told in one line. */
  open(): Promise<OpenedDevice>;
}

/** A device ready for a domain. */
export interface OpenedDevice {
  readonly device: Device;
  /** Gives up what {@link DeviceRequest.open} took; called once, when the domain has ended. */
  close(): void | Promise<void>;
}

/** Devices that belong together, and their end. */
export interface OpenedDevices {
  readonly devices: readonly Device[];
  close(): Promise<void>;
}

/** Opens all of `requests`, or none: what was opened is closed again when one can't be. */
export async function openDevices(requests: readonly DeviceRequest[]): Promise<OpenedDevices> {
  const opened: OpenedDevice[] = [];
  // Each gets its chance to flush, whatever became of the one before.
  const close = async (): Promise<void> => {
    const results = await Promise.allSettled(opened.splice(0).map(async (one) => one.close()));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  };
  try {
    for (const request of requests) opened.push(await request.open());
  } catch (error) {
    await close().catch(() => {});
    throw error;
  }
  return { devices: opened.map((one) => one.device), close };
}
