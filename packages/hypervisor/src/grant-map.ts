import { GNTMAP, GNTST, type StructValue } from "@paravirt/xen-abi";
import type { Domain } from "./domain.ts";
import { tableFor } from "./grants.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

/** A mapping that a guest made of another guest's grant: what its handle stands for. */
export interface GuestMapping {
  /** Whose page it is. */
  readonly owner: Domain;
  /** The grant in its table. */
  readonly ref: number;
  /** The page. */
  readonly mfn: number;
  /** Whether it may only be read. */
  readonly readOnly: boolean;
  /** Machine address of the L1 entry that maps the page. */
  readonly entryAddress: number;
}

/** Mappings that one guest may have (max_maptrack_frames 1024, as xl sets it, of 256 each). */
const MAX_HANDLES = 1024 * 256;

/** What GNTTABOP_map_grant_ref writes back. */
export interface MapAnswer {
  readonly status: number;
  readonly handle: number;
  readonly dev_bus_addr: bigint;
}

const failed = (status: number): MapAnswer => ({ status, handle: 0, dev_bus_addr: 0n });

/** Maps another domain's granted page at an address of the caller. */
export function mapGrantRef(vcpu: VirtualCpu, request: StructValue<"gnttab_map_grant_ref">): MapAnswer {
  const caller = vcpu.domain;
  const { flags } = request;
  if ((flags & GNTMAP.host_map) === 0 || (flags & GNTMAP.device_map) !== 0) return failed(GNTST.no_device_space);
  const owner = tableFor(caller, request.dom);
  if (owner === undefined) return failed(GNTST.bad_domain);
  if (caller.mappings.size >= MAX_HANDLES) return failed(GNTST.no_space);
  const entryAddress = entryOf(vcpu, request.host_addr, flags);
  if (entryAddress === 0) return failed(GNTST.bad_virt_addr);
  const readOnly = (flags & GNTMAP.readonly) !== 0;
  const grant = owner.grants.acquire(request.ref, caller.id, readOnly);
  if (typeof grant === "number") return failed(grant);
  const { mfn } = grant;
  // Part of a page cannot be mapped, only copied.
  if (grant.length !== 4096) {
    owner.grants.release(request.ref, readOnly);
    return failed(GNTST.general_error);
  }
  const status = caller.machine.paging.mapForeign(caller.memory, {
    entryAddress,
    mfn,
    owner: grant.through === undefined ? owner.memory : grant.through.table.domain.memory,
    writable: !readOnly,
    user: (flags & GNTMAP.application_map) !== 0,
    // GNTMAP_guest_avail0 is bit 16; the entry's available bits begin at 9.
    available: ((flags >>> 16) & 7) << 9,
  });
  if (status !== 0) {
    owner.grants.release(request.ref, readOnly);
    return failed(GNTST.general_error);
  }
  const handle = caller.nextHandle++;
  caller.mappings.set(handle, { owner, ref: request.ref, mfn, readOnly, entryAddress });
  return { status: GNTST.okay, handle, dev_bus_addr: BigInt(mfn) << 12n };
}

// The address is that of the entry itself, or of the page that the entry maps.
function entryOf(vcpu: VirtualCpu, address: bigint, flags: number): number {
  if ((flags & GNTMAP.contains_pte) === 0) {
    return (address & 0xfffn) === 0n ? vcpu.domain.machine.paging.findL1Entry(vcpu.kernelRoot, address) : 0;
  }
  const entry = Number(address);
  const { memory } = vcpu.domain.machine;
  return Number.isSafeInteger(entry) && entry < memory.frames * 4096 && entry % 8 === 0 ? entry : 0;
}

/** Ends a mapping by its handle; a `GNTST` number. */
export function unmapGrantRef(vcpu: VirtualCpu, handle: number, address: bigint): number {
  const caller = vcpu.domain;
  const mapping = caller.mappings.get(handle);
  if (mapping === undefined) return GNTST.bad_handle;
  if (address !== 0n) {
    const { entryAddress, mfn, readOnly } = mapping;
    const status = caller.machine.paging.unmapForeign(caller.memory, entryAddress, mfn, !readOnly);
    // An entry that the guest overwrote meanwhile let go of the page already; its handle is given up all the same.
    if (
      status !== 0 &&
      address !== BigInt(entryAddress) &&
      caller.machine.paging.findL1Entry(vcpu.kernelRoot, address) !== entryAddress
    ) {
      return GNTST.bad_virt_addr;
    }
  }
  caller.mappings.delete(handle);
  mapping.owner.grants.release(mapping.ref, mapping.readOnly);
  return GNTST.okay;
}
