import { chain } from "./awaitable.ts";
import { FileError } from "./errno.ts";
import type { FileChanges } from "./file-system.ts";
import { GETATTR, OPEN, QID_TYPE, SETATTR } from "./flags.ts";
import { checkWritable, need } from "./operation-checks.ts";
import type { Operations } from "./operations.ts";

const SECOND = 1_000_000_000n;

/** `stat` and what changes its answer. */
export const attributeOperations: Operations = {
  Tgetattr(request, { fid: number }) {
    const { node } = request.fid(number);
    return chain(node.attributes(), (found) =>
      request.answer("Rgetattr", {
        valid: BigInt(GETATTR.basic),
        qid: node.qid,
        mode: found.mode,
        uid: found.uid,
        gid: found.gid,
        nlink: BigInt(found.links),
        rdev: BigInt(found.device),
        size: BigInt(found.size),
        blksize: BigInt(found.blockSize),
        blocks: BigInt(found.blocks),
        ...times("atime", found.accessed),
        ...times("mtime", found.modified),
        ...times("ctime", found.changed),
        btimeSec: 0n,
        btimeNsec: 0n,
        gen: 0n,
        dataVersion: 0n,
      }),
    );
  },

  Tsetattr(request, { fid: number, ...fields }) {
    const fid = request.fid(number);
    const { node } = fid;
    checkWritable(request);
    const has = (flag: number): boolean => (fields.valid & flag) !== 0;
    const changes: FileChanges = {
      ...(has(SETATTR.mode) ? { mode: fields.mode & 0o7777 } : {}),
      ...(has(SETATTR.uid) ? { uid: fields.uid } : {}),
      ...(has(SETATTR.gid) ? { gid: fields.gid } : {}),
      ...(has(SETATTR.size) ? { size: sizeOf(fields.size) } : {}),
      ...(has(SETATTR.atime)
        ? { accessed: has(SETATTR.atimeSet) ? time(fields.atimeSec, fields.atimeNsec) : "now" }
        : {}),
      ...(has(SETATTR.mtime)
        ? { modified: has(SETATTR.mtimeSet) ? time(fields.mtimeSec, fields.mtimeNsec) : "now" }
        : {}),
    };
    if (changes.size !== undefined && node.qid.type !== QID_TYPE.file)
      throw new FileError(node.qid.type === QID_TYPE.directory ? "EISDIR" : "EINVAL");
    const answer = (): Uint8Array => request.answer("Rsetattr", {});
    const { size, ...others } = changes;
    const canWrite = (fid.flags & OPEN.accessMode) !== OPEN.readOnly;
    if (size !== undefined && fid.handle?.setSize !== undefined && canWrite) {
      return chain(fid.handle.setSize(size), () =>
        Object.keys(others).length === 0 ? answer() : chain(need(node, "setAttributes")(others), answer),
      );
    }
    return Object.keys(changes).length === 0 ? answer() : chain(need(node, "setAttributes")(changes), answer);
  },
};

function sizeOf(size: bigint): number {
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new FileError("EFBIG");
  return Number(size);
}

/** Seconds are signed on Linux: there were files before 1970. */
function time(seconds: bigint, nanoseconds: bigint): bigint {
  if (nanoseconds >= SECOND) throw new FileError("EINVAL");
  return BigInt.asIntN(64, seconds) * SECOND + nanoseconds;
}

function times<Name extends string>(name: Name, at: bigint): Record<`${Name}Sec` | `${Name}Nsec`, bigint> {
  const nanoseconds = ((at % SECOND) + SECOND) % SECOND;
  return {
    [`${name}Sec`]: BigInt.asUintN(64, (at - nanoseconds) / SECOND),
    [`${name}Nsec`]: nanoseconds,
  } as Record<`${Name}Sec` | `${Name}Nsec`, bigint>;
}
