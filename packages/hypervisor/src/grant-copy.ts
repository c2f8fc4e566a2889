import { DOMID, GNTST } from "@paravirt/xen-abi";
import type { Domain } from "./domain.ts";
import { type ActiveGrant, tableFor } from "./grants.ts";

/** Source or destination of a grant copy. */
export interface CopyEnd {
  readonly domid: number;
  /** Grant reference, or undefined where `gmfn` names a frame of the caller's own. */
  readonly ref: number | undefined;
  readonly gmfn: number;
  /** First byte in the page. */
  readonly offset: number;
}

/** A page that is held for one copy. */
interface Held {
  readonly mfn: number;
  readonly offset: number;
  readonly length: number;
  release(): void;
}

function hold(caller: Domain, end: CopyEnd, writable: boolean): Held | number {
  const domain = tableFor(caller, end.domid);
  if (domain === undefined) return GNTST.bad_domain;
  if (end.ref === undefined) {
    // A frame by its number: the caller's own, and nobody else's.
    if (end.domid !== DOMID.SELF && domain !== caller) return GNTST.permission_denied;
    const held = writable ? caller.holdWritable(end.gmfn) : caller.holdPage(end.gmfn);
    if (!held) return GNTST.bad_page;
    const { gmfn } = end;
    const release = () => (writable ? caller.releaseWritable(gmfn) : caller.releasePage(gmfn));
    return { mfn: gmfn, offset: 0, length: 4096, release };
  }
  const grant: ActiveGrant | number = domain.grants.acquire(end.ref, caller.id, !writable);
  if (typeof grant === "number") return grant;
  const { ref } = grant;
  return {
    mfn: grant.mfn,
    offset: grant.offset,
    length: grant.length,
    release: () => domain.grants.release(ref, !writable),
  };
}

/** GNTTABOP_copy of one segment: `length` bytes from `source` to `destination`; a `GNTST` number. */
export function copyGrant(caller: Domain, source: CopyEnd, destination: CopyEnd, length: number): number {
  if (source.offset + length > 4096 || destination.offset + length > 4096) return GNTST.bad_copy_arg;
  const from = hold(caller, source, false);
  if (typeof from === "number") return from;
  const to = hold(caller, destination, true);
  if (typeof to === "number") {
    from.release();
    return to;
  }
  let status: number = GNTST.okay;
  const fits = (held: Held, offset: number) => offset >= held.offset && offset + length <= held.offset + held.length;
  if (!fits(from, source.offset) || !fits(to, destination.offset)) status = GNTST.general_error;
  else {
    const { bytes } = caller.machine.memory;
    const first = from.mfn * 4096 + source.offset;
    bytes.copyWithin(to.mfn * 4096 + destination.offset, first, first + length);
    caller.machine.engine.frames.written(to.mfn);
  }
  to.release();
  from.release();
  return status;
}
