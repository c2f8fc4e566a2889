import type { Request } from "./connection.ts";
import { FileError } from "./errno.ts";
import type { Fid } from "./fids.ts";
import { LOCK_BLOCK, LOCK_STATUS, LOCK_TYPE } from "./flags.ts";
import { LOCK_END, type LockRequest } from "./locks.ts";
import type { Operations } from "./operations.ts";

/** Set by a client that gets its locks back after a server was away; ours never is. */
const LOCK_RECLAIM = 2;
const MAX_CLIENT = 255;

/** Locks. A client that will wait gets its answer when the lock is its own. */
export const lockOperations: Operations = {
  Tlock(request, { fid: number, type, flags, ...range }) {
    const fid = request.fid(number);
    if ((flags & ~(LOCK_BLOCK | LOCK_RECLAIM)) !== 0) throw new FileError("EINVAL");
    const { locks } = request.connection.options;
    const wanted = lockRequest(request, fid, type, range);
    const granted = (): Uint8Array => {
      fid.lockOwners.add(wanted.owner);
      return request.answer("Rlock", { status: LOCK_STATUS.success });
    };
    if (type === LOCK_TYPE.unlock) {
      if (!locks.release(wanted)) fid.lockOwners.delete(wanted.owner);
      return request.answer("Rlock", { status: LOCK_STATUS.success });
    }
    if (locks.take(wanted)) return granted();
    if ((flags & LOCK_BLOCK) === 0) return request.answer("Rlock", { status: LOCK_STATUS.blocked });
    return locks.takeWhenFree(wanted, request.cancellation).then(() => {
      if (!fid.gone) return granted();
      locks.release(wanted);
      throw new FileError("EBADF");
    });
  },

  Tgetlock(request, { fid: number, type, ...range }) {
    const fid = request.fid(number);
    if (type === LOCK_TYPE.unlock) throw new FileError("EINVAL");
    const found = request.connection.options.locks.conflict(lockRequest(request, fid, type, range));
    if (found === undefined) return request.answer("Rgetlock", { ...range, type: LOCK_TYPE.unlock });
    return request.answer("Rgetlock", {
      type: found.exclusive ? LOCK_TYPE.write : LOCK_TYPE.read,
      start: found.start,
      length: found.end === LOCK_END ? 0n : found.end - found.start,
      procId: found.process,
      clientId: found.client,
    });
  },
};

function lockRequest(
  request: Request,
  fid: Fid,
  type: number,
  range: { readonly start: bigint; readonly length: bigint; readonly procId: number; readonly clientId: string },
): LockRequest {
  const known: readonly number[] = Object.values(LOCK_TYPE);
  if (!known.includes(type) || range.clientId.length > MAX_CLIENT) throw new FileError("EINVAL");
  return {
    file: fid.node.qid.path,
    owner: `${request.connection.options.id}/${range.procId}/${range.clientId}`,
    process: range.procId,
    client: range.clientId,
    exclusive: type === LOCK_TYPE.write,
    start: range.start,
    length: range.length,
  };
}
