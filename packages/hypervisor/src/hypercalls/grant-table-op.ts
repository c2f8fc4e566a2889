import { GNTCOPY, GNTST, GNTTABOP, HYPERVISOR, layout, XEN_ERRNO } from "@paravirt/xen-abi";
import { type CopyEnd, copyGrant } from "../grant-copy.ts";
import { mapGrantRef, unmapGrantRef } from "../grant-map.ts";
import { tableFor } from "../grants.ts";
import { guestStore } from "../guest-memory.ts";
import type { Hypercall, HypercallContext, Operation } from "../hypercall.ts";

const mapRef = layout("gnttab_map_grant_ref", "x86_64");
const unmapRef = layout("gnttab_unmap_grant_ref", "x86_64");
const setupTable = layout("gnttab_setup_table", "x86_64");
const copy = layout("gnttab_copy", "x86_64");
const querySize = layout("gnttab_query_size", "x86_64");
const setVersion = layout("gnttab_set_version", "x86_64");
const statusFrames = layout("gnttab_get_status_frames", "x86_64");
const getVersion = layout("gnttab_get_version", "x86_64");
const swap = layout("gnttab_swap_grant_ref", "x86_64");
const { EFAULT, EINVAL, ENOSYS, EPERM, ESRCH } = XEN_ERRNO;

/** Elements of a batch after which the call is continued. */
const PREEMPT_AFTER = 256;
const frameBytes = new Uint8Array(8);
const frameView = new DataView(frameBytes.buffer);

/** Writes MFNs to the guest's list; `false` when it is not writable. */
function storeFrames(call: HypercallContext, list: bigint, frames: readonly number[]): boolean {
  for (const [index, mfn] of frames.entries()) {
    frameView.setBigUint64(0, BigInt(mfn), true);
    if (!guestStore(call.vcpu, list + BigInt(index * 8), frameBytes, 8)) return false;
  }
  return true;
}

/** The domain whose table a request means, or the status it gets. */
function subject(
  call: HypercallContext,
  domid: number,
): { readonly status: number } | NonNullable<ReturnType<typeof tableFor>> {
  const domain = tableFor(call.domain, domid);
  if (domain === undefined) return { status: GNTST.bad_domain };
  return domain === call.domain ? domain : { status: GNTST.permission_denied };
}

function setup(call: HypercallContext): number {
  const address = call.arg(1);
  if (call.u32(2) !== 1) return -EINVAL;
  const request = call.fetch(setupTable, address);
  if (request === undefined) return -EFAULT;
  const domain = subject(call, request.dom);
  let status: number = GNTST.okay;
  if ("status" in domain) status = domain.status;
  else if (request.nr_frames > domain.grants.maxFrames) status = GNTST.general_error;
  else if (!domain.grants.grow(request.nr_frames)) status = GNTST.general_error;
  else if (!storeFrames(call, request.frame_list, domain.grants.frames.slice(0, request.nr_frames)))
    status = GNTST.bad_virt_addr;
  setupTable.write(call.view, 0, { ...request, status });
  return call.store(address, setupTable.size) ? 0 : -EFAULT;
}

function query(call: HypercallContext): number {
  const address = call.arg(1);
  if (call.u32(2) !== 1) return -EINVAL;
  const request = call.fetch(querySize, address);
  if (request === undefined) return -EFAULT;
  const domain = subject(call, request.dom);
  const answer =
    "status" in domain
      ? { status: domain.status }
      : { nr_frames: domain.grants.frames.length, max_nr_frames: domain.grants.maxFrames, status: GNTST.okay };
  return call.put(querySize, address, answer) ? 0 : -EFAULT;
}

function changeVersion(call: HypercallContext): number {
  const address = call.arg(1);
  const request = call.fetch(setVersion, address);
  if (request === undefined) return -EFAULT;
  const { grants } = call.domain;
  const status = grants.setVersion(request.version);
  setVersion.write(call.view, 0, { version: grants.version });
  if (!call.store(address, setVersion.size)) return -EFAULT;
  return status;
}

function answerVersion(call: HypercallContext): number {
  const address = call.arg(1);
  const request = call.fetch(getVersion, address);
  if (request === undefined) return -EFAULT;
  const domain = tableFor(call.domain, request.dom);
  if (domain === undefined) return -ESRCH;
  if (domain !== call.domain) return -EPERM;
  return call.put(getVersion, address, { version: domain.grants.version }) ? 0 : -EFAULT;
}

function answerStatusFrames(call: HypercallContext): number {
  const address = call.arg(1);
  if (call.u32(2) !== 1) return -EINVAL;
  const request = call.fetch(statusFrames, address);
  if (request === undefined) return -EFAULT;
  const domain = subject(call, request.dom);
  let status: number = GNTST.okay;
  if ("status" in domain) status = domain.status;
  else if (domain.grants.version !== 2 || request.nr_frames > domain.grants.statusFrames.length)
    status = GNTST.general_error;
  else if (!storeFrames(call, request.frame_list, domain.grants.statusFrames.slice(0, request.nr_frames)))
    status = GNTST.bad_virt_addr;
  statusFrames.write(call.view, 0, { ...request, status });
  return call.store(address, statusFrames.size) ? 0 : -EFAULT;
}

/** Carries out `each` for every element of the batch; one that cannot be read or written ends it with -EFAULT. */
function batch(call: HypercallContext, size: number, each: (address: bigint) => number): number | undefined {
  const list = call.arg(1);
  const count = call.u32(2);
  const limit = Math.min(count, PREEMPT_AFTER);
  for (let index = 0; index < limit; index++) {
    const address = list + BigInt(index * size);
    if (!call.load(address, size)) return -EFAULT;
    const status = each(address);
    if (status !== 0) return status;
  }
  if (count > limit) {
    call.args[1] = list + BigInt(limit * size);
    call.args[2] = BigInt(count - limit);
    call.again = true;
    return undefined;
  }
  return 0;
}

function mapOne(call: HypercallContext, address: bigint): number {
  const request = mapRef.read(call.view, 0);
  const result = mapGrantRef(call.vcpu, request);
  const answer = { ...request, ...result };
  mapRef.write(call.view, 0, answer);
  return call.store(address, mapRef.size) ? 0 : -EFAULT;
}

function unmapOne(call: HypercallContext, address: bigint): number {
  const request = unmapRef.read(call.view, 0);
  const status = unmapGrantRef(call.vcpu, request.handle, request.host_addr);
  unmapRef.write(call.view, 0, { ...request, status });
  return call.store(address, unmapRef.size) ? 0 : -EFAULT;
}

function copyOne(call: HypercallContext, address: bigint): number {
  const { source, dest, len, flags } = copy.read(call.view, 0);
  const end = (at: typeof source, granted: boolean): CopyEnd => ({
    domid: at.domid,
    ref: granted ? at.u.ref : undefined,
    gmfn: at.u.gmfn,
    offset: at.offset,
  });
  const status = copyGrant(
    call.domain,
    end(source, (flags & GNTCOPY.source_gref) !== 0),
    end(dest, (flags & GNTCOPY.dest_gref) !== 0),
    len,
  );
  call.view.setInt16(copy.offsets.status, status, true);
  return call.store(address, copy.size) ? 0 : -EFAULT;
}

function swapOne(call: HypercallContext, address: bigint): number {
  const request = swap.read(call.view, 0);
  const status = call.domain.grants.swap(request.ref_a, request.ref_b);
  return call.put(swap, address, { status }) ? 0 : -EFAULT;
}

const full = (number: number, name: string, note?: string): Operation =>
  note === undefined ? { number, name, support: "full" } : { number, name, support: "full", note };

/** Shares pages between domains. */
export const grantTableOp: Hypercall = {
  number: HYPERVISOR.grant_table_op,
  name: "grant_table_op",
  support: "partial",
  note: "transfer and unmap_and_replace are missing.",
  operations: [
    {
      number: GNTTABOP.map_grant_ref,
      name: "map_grant_ref",
      support: "partial",
      note: "Host mappings only: there is no I/O MMU.",
    },
    full(GNTTABOP.unmap_grant_ref, "unmap_grant_ref"),
    full(GNTTABOP.setup_table, "setup_table"),
    { number: GNTTABOP.dump_table, name: "dump_table", support: "none", note: "-ENOSYS, as Xen answers." },
    {
      number: GNTTABOP.transfer,
      name: "transfer",
      support: "none",
      note: "-ENOSYS; Xen can move pages to another domain.",
    },
    full(GNTTABOP.copy, "copy"),
    full(GNTTABOP.query_size, "query_size"),
    {
      number: GNTTABOP.unmap_and_replace,
      name: "unmap_and_replace",
      support: "none",
      note: "-ENOSYS; Xen can put another page in a mapping's place.",
    },
    full(GNTTABOP.set_version, "set_version"),
    full(GNTTABOP.get_status_frames, "get_status_frames"),
    full(GNTTABOP.get_version, "get_version"),
    full(GNTTABOP.swap_grant_ref, "swap_grant_ref"),
    full(GNTTABOP.cache_flush, "cache_flush", "-ENOSYS, as on every x86 Xen."),
  ],
  handle(call) {
    if (call.s32(2) < 0) return -EINVAL;
    switch (call.u32(0)) {
      case GNTTABOP.map_grant_ref:
        return batch(call, mapRef.size, (address) => mapOne(call, address));
      case GNTTABOP.unmap_grant_ref:
        return batch(call, unmapRef.size, (address) => unmapOne(call, address));
      case GNTTABOP.setup_table:
        return setup(call);
      case GNTTABOP.copy:
        return batch(call, copy.size, (address) => copyOne(call, address));
      case GNTTABOP.query_size:
        return query(call);
      case GNTTABOP.set_version:
        return call.u32(2) === 1 ? changeVersion(call) : -EINVAL;
      case GNTTABOP.get_status_frames:
        return answerStatusFrames(call);
      case GNTTABOP.get_version:
        return call.u32(2) === 1 ? answerVersion(call) : -EINVAL;
      case GNTTABOP.swap_grant_ref:
        return batch(call, swap.size, (address) => swapOne(call, address));
      default:
        return -ENOSYS;
    }
  },
};
