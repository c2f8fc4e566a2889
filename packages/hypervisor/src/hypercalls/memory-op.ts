import { DOMID, HYPERVISOR, layout, MEMOP_EXTENT_SHIFT, XEN_ERRNO, XENMEM } from "@paravirt/xen-abi";
import { SHARED_INFO } from "../abi.ts";
import type { Domain } from "../domain.ts";
import { guestLoad, guestStore } from "../guest-memory.ts";
import type { Hypercall, HypercallContext, Operation } from "../hypercall.ts";

const reservation = layout("xen_memory_reservation", "x86_64");
const exchange = layout("xen_memory_exchange", "x86_64");
const mapping = layout("xen_machphys_mapping", "x86_64");
const memoryMap = layout("xen_memory_map", "x86_64");
const entry = layout("e820entry", "x86_64");
const { EACCES, EFAULT, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, ESRCH } = XEN_ERRNO;

/** CONFIG_DOMU_MAX_ORDER: the largest extent a domU may ask for. */
const MAX_ORDER = 9;
const COMMAND_MASK = (1 << MEMOP_EXTENT_SHIFT) - 1;
const MAX_EXTENTS = 0xffff_ffff >>> MEMOP_EXTENT_SHIFT;
const E820_RAM = 1;
/** Extents after which the call is continued. */
const PREEMPT_AFTER = 1024;
/** Frames that one exchange may move. */
const MAX_EXCHANGE_FRAMES = 1 << MAX_ORDER;

const word = new Uint8Array(8);
const wordView = new DataView(word.buffer);

function loadFrame(call: HypercallContext, list: bigint, index: number): number | undefined {
  if (!guestLoad(call.vcpu, list + BigInt(index) * 8n, word, 8)) return undefined;
  const high = wordView.getUint32(4, true);
  return high >= 0x20_0000 ? Number.MAX_SAFE_INTEGER : high * 0x1_0000_0000 + wordView.getUint32(0, true);
}

function storeFrame(call: HypercallContext, list: bigint, index: number, mfn: number): boolean {
  wordView.setBigUint64(0, BigInt(mfn), true);
  return guestStore(call.vcpu, list + BigInt(index) * 8n, word, 8);
}

function subject(call: HypercallContext, domid: number): Domain | number {
  if (domid === DOMID.SELF) return call.domain;
  const named = call.machine.domain(domid);
  if (named === undefined) return -ESRCH;
  return named === call.domain ? named : -EPERM;
}

/** Extents of the three reservation calls: as Xen, the result counts those done, and most mistakes just end it. */
function changeReservation(call: HypercallContext, command: number): number | undefined {
  const start = call.u32(0) >>> MEMOP_EXTENT_SHIFT;
  const request = call.fetch(reservation, call.arg(1));
  if (request === undefined) return start;
  const count = Number(request.nr_extents);
  if (count > MAX_EXTENTS || start >= count) return start;
  const domain = subject(call, request.domid);
  if (typeof domain === "number") return domain === -ESRCH ? start : domain;
  const { extent_order: order, extent_start: list } = request;
  if (order > MAX_ORDER) return start;
  for (let index = start; index < count; index++) {
    if (index - start === PREEMPT_AFTER) {
      call.args[0] = BigInt(command | (index << MEMOP_EXTENT_SHIFT));
      call.again = true;
      return undefined;
    }
    const done =
      command === XENMEM.decrease_reservation
        ? releaseExtent(call, domain, list, index, order)
        : addExtent(call, domain, list, index, order, command);
    if (!done) return index;
  }
  return count;
}

function addExtent(
  call: HypercallContext,
  domain: Domain,
  list: bigint,
  index: number,
  order: number,
  command: number,
): boolean {
  const { paging } = call.machine;
  if (command === XENMEM.increase_reservation) {
    const mfn = paging.allocate(domain.memory, order);
    if (mfn < 0) return false;
    // Without a list the guest does not want to know.
    return list === 0n || storeFrame(call, list, index, mfn);
  }
  const pfn = loadFrame(call, list, index);
  if (pfn === undefined) return false;
  const mfn = paging.populatePhysmap(domain.memory, order, pfn);
  return mfn >= 0 && storeFrame(call, list, index, mfn);
}

function releaseExtent(call: HypercallContext, domain: Domain, list: bigint, index: number, order: number): boolean {
  const first = loadFrame(call, list, index);
  if (first === undefined) return false;
  for (let i = 0; i < 2 ** order; i++) {
    if (call.machine.paging.decreaseReservation(domain.memory, first + i) !== 0) return false;
  }
  return true;
}

function exchangeMemory(call: HypercallContext): number {
  const address = call.arg(1);
  const request = call.fetch(exchange, address);
  if (request === undefined) return -EFAULT;
  const { in: given, out: wanted } = request;
  const inCount = Number(given.nr_extents);
  const outCount = Number(wanted.nr_extents);
  if (request.nr_exchanged !== 0n || given.extent_order > MAX_ORDER || wanted.extent_order > MAX_ORDER) return -EPERM;
  if (inCount > MAX_EXTENTS || outCount > MAX_EXTENTS) return -EINVAL;
  const frames = inCount * 2 ** given.extent_order;
  if (frames !== outCount * 2 ** wanted.extent_order || given.domid !== wanted.domid) return -EINVAL;
  if (frames > MAX_EXCHANGE_FRAMES) return -EPERM;
  const domain = subject(call, given.domid);
  if (typeof domain === "number") return domain;
  const from: number[] = [];
  for (let index = 0; index < inCount; index++) {
    const first = loadFrame(call, given.extent_start, index);
    if (first === undefined) return -EFAULT;
    for (let i = 0; i < 2 ** given.extent_order; i++) from.push(first + i);
  }
  const pfns: number[] = [];
  for (let index = 0; index < outCount; index++) {
    const pfn = loadFrame(call, wanted.extent_start, index);
    if (pfn === undefined) return -EFAULT;
    pfns.push(pfn);
  }
  const bits = wanted.mem_flags & 0xff;
  const result = call.machine.paging.exchange(domain.memory, from, wanted.extent_order, pfns, bits === 0 ? 64 : bits);
  if (typeof result === "number") return result;
  for (let index = 0; index < result.length; index++) {
    if (!storeFrame(call, wanted.extent_start, index, result[index] as number)) return -EFAULT;
  }
  exchange.write(call.view, 0, { ...request, nr_exchanged: BigInt(inCount) });
  return call.store(address, exchange.size) ? 0 : -EFAULT;
}

function answerMap(call: HypercallContext): number {
  const address = call.arg(1);
  const request = call.fetch(memoryMap, address);
  if (request === undefined) return -EFAULT;
  const count = Math.min(request.nr_entries, 1);
  call.put(memoryMap, address, { nr_entries: count });
  if (count > 0) {
    call.bytes.fill(0, 0, entry.size);
    entry.write(call.view, 0, { addr: 0n, size: BigInt(call.domain.maxPages) * 4096n, type: E820_RAM });
    if (!call.store(request.buffer, entry.size)) return -EFAULT;
  }
  memoryMap.write(call.view, 0, { nr_entries: count, buffer: request.buffer });
  return call.store(address, memoryMap.size) ? 0 : -EFAULT;
}

function reservationSize(call: HypercallContext, of: (domain: Domain) => number): number {
  if (!call.load(call.arg(1), 2)) return -EFAULT;
  const domain = subject(call, call.view.getUint16(0, true));
  return typeof domain === "number" ? domain : of(domain);
}

const full = (number: number, name: string, note?: string): Operation =>
  note === undefined ? { number, name, support: "full" } : { number, name, support: "full", note };

/** Memory: reservations, the machine-to-physical table, maps. */
export const memoryOp: Hypercall = {
  number: HYPERVISOR.memory_op,
  name: "memory_op",
  support: "partial",
  note: "machphys_mfn_list, which only tools that map another domain's tables use, is missing.",
  operationMask: COMMAND_MASK,
  operations: [
    full(XENMEM.increase_reservation, "increase_reservation"),
    full(XENMEM.decrease_reservation, "decrease_reservation"),
    full(XENMEM.maximum_ram_page, "maximum_ram_page"),
    full(XENMEM.current_reservation, "current_reservation"),
    full(XENMEM.maximum_reservation, "maximum_reservation"),
    { number: XENMEM.machphys_mfn_list, name: "machphys_mfn_list", support: "none", note: "-ENOSYS." },
    full(XENMEM.populate_physmap, "populate_physmap"),
    full(XENMEM.add_to_physmap, "add_to_physmap", "-EACCES: not for a domain that sees machine frames."),
    full(XENMEM.memory_map, "memory_map", "One entry of RAM, as large as the domain may become."),
    full(XENMEM.machine_memory_map, "machine_memory_map", "-EPERM for a domU."),
    { number: XENMEM.exchange, name: "exchange", support: "partial", note: "At most 512 frames a call." },
    full(
      XENMEM.machphys_mapping,
      "machphys_mapping",
      "max_mfn is the machine's last frame, not the last one the address range has room for.",
    ),
    full(XENMEM.set_memory_map, "set_memory_map", "-EPERM for a domU."),
    full(XENMEM.maximum_gpfn, "maximum_gpfn"),
    full(XENMEM.remove_from_physmap, "remove_from_physmap", "-EACCES, as add_to_physmap."),
    full(XENMEM.set_pod_target, "set_pod_target", "-EPERM for a domU."),
    full(XENMEM.get_pod_target, "get_pod_target", "-EPERM for a domU."),
    full(XENMEM.get_sharing_freed_pages, "get_sharing_freed_pages", "0: pages are not shared."),
    full(XENMEM.get_sharing_shared_pages, "get_sharing_shared_pages", "0: pages are not shared."),
    full(XENMEM.claim_pages, "claim_pages", "-EPERM for a domU."),
    full(XENMEM.get_vnumainfo, "get_vnumainfo", "-EOPNOTSUPP: there is one memory node."),
    full(XENMEM.acquire_resource, "acquire_resource", "-EPERM for a domU."),
  ],
  handle(call) {
    const command = call.u32(0) & COMMAND_MASK;
    const { machine } = call;
    switch (command) {
      case XENMEM.increase_reservation:
      case XENMEM.decrease_reservation:
      case XENMEM.populate_physmap:
        return changeReservation(call, command);
      case XENMEM.maximum_ram_page:
        return machine.memory.frames;
      case XENMEM.current_reservation:
        return reservationSize(call, (domain) => domain.memory.ownedFrames);
      case XENMEM.maximum_reservation:
        return reservationSize(call, (domain) => domain.memory.maxFrames);
      case XENMEM.maximum_gpfn:
        return reservationSize(call, (domain) => {
          const pages = Number(machine.memory.view.getBigUint64(domain.sharedInfoAt + SHARED_INFO.maxPfn, true));
          return pages - 1;
        });
      case XENMEM.memory_map:
        return answerMap(call);
      case XENMEM.machphys_mapping: {
        const { start, end, maxMfn } = machine.paging.machphys;
        return call.put(mapping, call.arg(1), { v_start: start, v_end: end, max_mfn: maxMfn }) ? 0 : -EFAULT;
      }
      case XENMEM.exchange:
        return exchangeMemory(call);
      case XENMEM.add_to_physmap:
      case XENMEM.remove_from_physmap:
        return call.load(call.arg(1), 16) ? -EACCES : -EFAULT;
      case XENMEM.machine_memory_map:
      case XENMEM.set_memory_map:
      case XENMEM.set_pod_target:
      case XENMEM.get_pod_target:
      case XENMEM.claim_pages:
      case XENMEM.acquire_resource:
        return -EPERM;
      case XENMEM.get_sharing_freed_pages:
      case XENMEM.get_sharing_shared_pages:
        return 0;
      case XENMEM.get_vnumainfo:
        return -EOPNOTSUPP;
      default:
        return -ENOSYS;
    }
  },
};
