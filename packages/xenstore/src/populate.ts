import { ParavirtError } from "@paravirt/core";
import type { XenstoreAccess } from "./access.ts";
import { domainPath } from "./path.ts";
import { type Permissions, parsePermissions } from "./permissions.ts";

/** One ring that the toolstack made for a domain: its event channel port in the domain, and its frame. */
export interface RingNodes {
  /** The event channel port in the domain. */
  readonly port: number;
  /** Machine frame number for a PV domain, as `ring-ref` shows it. */
  readonly frame: number;
}

/** What a domain was booted from. */
export interface DomainImage {
  /** The kernel's path. */
  readonly kernel: string;
  /** The initial file system's path. */
  readonly ramdisk?: string;
  /** The kernel's command line. */
  readonly commandLine?: string;
}

/** What the toolstack writes about a domain. */
export interface DomainNodes {
  /** The domain's id. */
  readonly domid: number;
  /** What `xl list` would show. */
  readonly name: string;
  /** Lower-case text form, `d1f42bd4-b08f-47c7-884a-8ddcfda8f2bc`. */
  readonly uuid: string;
  /** Most memory that the domain can have, in KiB (`memory/static-max`). */
  readonly memoryKiB: number;
  /** What the balloon driver shall keep, in KiB; `memoryKiB` unless given. */
  readonly targetKiB?: number;
  /** How many VCPUs it has. */
  readonly vcpus: number;
  /** How many of them are online at the start; all unless given. */
  readonly onlineVcpus?: number;
  /** The ring to xenstore. */
  readonly store: RingNodes;
  /** The console's ring. */
  readonly console: RingNodes;
  /** The host's name of the terminal (`console/tty`); empty unless given. */
  readonly tty?: string;
  /** What runs in it, for `/vm/UUID/image`. */
  readonly image?: DomainImage;
  /** Seconds since 1970 as text, for `/vm/UUID/start_time`; left out unless given. */
  readonly startTime?: string;
  /** Called where the toolstack adds disks and networks: see {@link addDevice}. */
  readonly addDevices?: () => void;
}

/** One device of a domain: a frontend's nodes in the domain, a backend's in domain 0. */
export interface DeviceNodes {
  /** The domain that gets the device. */
  readonly domid: number;
  /** `vbd`, `vif`, … */
  readonly type: string;
  /** The device's number, `51712` for xvda. */
  readonly id: number;
  /** Nodes of the frontend besides `backend`, `backend-id` and `state`, in this order. */
  readonly frontend: Readonly<Record<string, string>>;
  /** Nodes of the backend, in this order after those of `frontend`, `frontend-id`, `online` and `state` that aren't given. */
  readonly backend: Readonly<Record<string, string>>;
}

/** Writes what a store holds of the host itself: domain 0 and its cpupool. Call it once for a new store. */
export function populateHost(store: XenstoreAccess): void {
  const home = domainPath(0);
  for (const feature of ["feature-poweroff", "feature-reboot", "feature-suspend"]) {
    store.write(`${home}/control/${feature}`, "1");
  }
  store.write(`${home}/domid`, "0");
  store.write(`${home}/name`, "Domain-0");
  store.mkdir(`${home}/backend`);
  store.write("/local/pool/0/name", "Pool-0");
}

/**
 * Writes a domain's nodes as xl of Xen 4.17 does: `/local/domain/N`, `/vm/UUID`, `/libxl/N` and the console's backend,
 * with their permissions. Throws `BAD_ARGUMENT` when the domain's nodes exist.
 */
export function populateDomain(store: XenstoreAccess, domain: DomainNodes): void {
  const { domid } = domain;
  const home = domainPath(domid);
  if (store.permissions(home) !== undefined) throw new ParavirtError("BAD_ARGUMENT", `${home} exists already`);
  const readable = list(`n0,r${domid}`);
  const own = list(`n${domid}`);
  makeWith(store, home, readable);
  const vm = `/vm/${domain.uuid}`;
  store.write(`${home}/vm`, vm);
  store.write(`${home}/name`, domain.name);
  for (let vcpu = 0; vcpu < domain.vcpus; vcpu++) {
    const online = vcpu < (domain.onlineVcpus ?? domain.vcpus);
    store.write(`${home}/cpu/${vcpu}/availability`, online ? "online" : "offline");
  }
  store.write(`${home}/memory/static-max`, String(domain.memoryKiB));
  store.write(`${home}/memory/target`, String(domain.targetKiB ?? domain.memoryKiB));
  store.write(`${home}/memory/videoram`, "0");
  makeWith(store, `${home}/device/suspend/event-channel`, own);
  for (const name of ["shutdown", "feature-poweroff", "feature-reboot", "feature-suspend", "sysrq"]) {
    makeWith(store, `${home}/control/${name}`, own);
  }
  store.write(`${home}/control/platform-feature-multiprocessor-suspend`, "1");
  store.write(`${home}/control/platform-feature-xs_reset_watches`, "1");
  for (const name of ["data", "drivers", "feature", "attr", "error"]) makeWith(store, `${home}/${name}`, own);
  store.write(`${home}/domid`, String(domid));
  store.write(`${home}/store/port`, String(domain.store.port));
  store.write(`${home}/store/ring-ref`, String(domain.store.frame));
  populateVm(store, vm, domain, readable);
  makeWith(store, `/libxl/${domid}/device`, list("n0"));
  populateConsole(store, domain);
  domain.addDevices?.();
  store.write(`/libxl/${domid}/type`, "pv");
  store.write(`/libxl/${domid}/dm-version`, "qemu_xen");
}

/** Removes what {@link populateDomain} and {@link addDevice} wrote about a domain. */
export function removeDomainNodes(store: XenstoreAccess, domid: number): void {
  const vm = store.read(`${domainPath(domid)}/vm`);
  if (vm?.startsWith("/vm/")) store.remove(vm);
  store.remove(domainPath(domid));
  store.remove(`/libxl/${domid}`);
  const backends = `${domainPath(0)}/backend`;
  for (const type of store.list(backends) ?? []) store.remove(`${backends}/${type}/${domid}`);
}

/** Removes what {@link addDevice} wrote, and what both ends added to it. */
export function removeDeviceNodes(store: XenstoreAccess, { domid, type, id }: DeviceNodes): void {
  store.remove(`${domainPath(domid)}/device/${type}/${id}`);
  store.remove(`${domainPath(0)}/backend/${type}/${domid}/${id}`);
  store.remove(`/libxl/${domid}/device/${type}/${id}`);
}

/** Writes the nodes of one device, both ends in state 1 (Initialising), as the toolstack does. */
export function addDevice(store: XenstoreAccess, device: DeviceNodes): void {
  const { domid, type, id } = device;
  const frontend = `${domainPath(domid)}/device/${type}/${id}`;
  const backend = `${domainPath(0)}/backend/${type}/${domid}/${id}`;
  makeWith(store, backend, list(`n0,r${domid}`));
  makeWith(store, frontend, list(`n${domid},r0`));
  writeAll(store, frontend, { backend, "backend-id": "0", state: "1", ...device.frontend });
  const usual = { "frontend-id": String(domid), online: "1", state: "1" };
  // A name among `device.backend` keeps the place it has there: a disk's `state` comes after its `bootable`.
  const first = Object.entries(usual).filter(([name]) => !Object.hasOwn(device.backend, name));
  const nodes: Record<string, string> = { frontend, ...Object.fromEntries(first), ...device.backend };
  writeAll(store, backend, nodes);
  writeAll(store, `/libxl/${domid}/device/${type}/${id}`, libxlNodes(backend, nodes));
}

function populateConsole(store: XenstoreAccess, domain: DomainNodes): void {
  const { domid } = domain;
  const console = `${domainPath(domid)}/console`;
  const backend = `${domainPath(0)}/backend/console/${domid}/0`;
  makeWith(store, backend, list(`n0,r${domid}`));
  const nodes = { frontend: console, "frontend-id": String(domid), online: "1", state: "1", protocol: "vt100" };
  writeAll(store, backend, nodes);
  makeWith(store, console, list(`n0,r${domid}`));
  writeAll(store, console, {
    backend,
    "backend-id": "0",
    limit: "1048576",
    type: "xenconsoled",
    output: "pty",
    tty: domain.tty ?? "",
    port: String(domain.console.port),
    "ring-ref": String(domain.console.frame),
  });
  store.setPermissions(`${console}/backend-id`, list(`n${domid},r0`));
  writeAll(store, `/libxl/${domid}/device/console/0`, libxlNodes(backend, nodes));
}

function populateVm(store: XenstoreAccess, vm: string, domain: DomainNodes, readable: Permissions): void {
  makeWith(store, vm, readable);
  writeAll(store, vm, { name: domain.name, uuid: domain.uuid });
  if (domain.image !== undefined) {
    store.write(`${vm}/image/ostype`, "linux");
    store.write(`${vm}/image/kernel`, domain.image.kernel);
    if (domain.image.ramdisk !== undefined) store.write(`${vm}/image/ramdisk`, domain.image.ramdisk);
    if (domain.image.commandLine !== undefined) store.write(`${vm}/image/cmdline`, domain.image.commandLine);
  }
  if (domain.startTime !== undefined) store.write(`${vm}/start_time`, domain.startTime);
}

function libxlNodes(backend: string, nodes: Readonly<Record<string, string>>): Record<string, string> {
  const { frontend, ...rest } = nodes;
  return { frontend: frontend!, backend, ...rest };
}

function writeAll(store: XenstoreAccess, path: string, nodes: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(nodes)) store.write(`${path}/${name}`, value);
}

function makeWith(store: XenstoreAccess, path: string, permissions: Permissions): void {
  store.mkdir(path);
  store.setPermissions(path, permissions);
}

function list(text: string): Permissions {
  return parsePermissions(text)!;
}
