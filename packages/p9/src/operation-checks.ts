import type { Request } from "./connection.ts";
import { FileError } from "./errno.ts";
import type { Fid } from "./fids.ts";
import { QID_TYPE } from "./flags.ts";
import { encodeName } from "./names.ts";

const MAX_NAME = 255;
const MAX_TARGET = 4095;

/** Throws unless `name` can be one name in a folder. */
export function checkName(name: string): void {
  if (name === "" || name === "." || name === ".." || name.includes("/") || name.includes("\0"))
    throw new FileError("EINVAL", "a name that can't be one");
  // No more than three bytes come of one unit.
  if (name.length * 3 > MAX_NAME && encodeName(name).length > MAX_NAME) throw new FileError("ENAMETOOLONG");
}

/** Throws unless `target` can be a symbolic link's. */
export function checkTarget(target: string): void {
  if (target === "" || target.includes("\0")) throw new FileError("ENOENT");
  if (target.length * 3 > MAX_TARGET && encodeName(target).length > MAX_TARGET) throw new FileError("ENAMETOOLONG");
}

/** Throws EROFS when nothing may be changed. */
export function checkWritable(request: Request): void {
  if (request.connection.options.readOnly) throw new FileError("EROFS");
}

/** The fid of a folder. */
export function folderFid(request: Request, number: number): Fid {
  const fid = request.fid(number);
  if (fid.node.qid.type !== QID_TYPE.directory) throw new FileError("ENOTDIR");
  return fid;
}

/** A method that a file system may lack, bound. Throws EOPNOTSUPP without one. */
export function need<T extends object, K extends keyof T>(owner: T, name: K): NonNullable<T[K]> {
  const method = owner[name];
  if (typeof method !== "function") throw new FileError("EOPNOTSUPP", String(name));
  return method.bind(owner);
}

/** An offset as a number. Files don't get as long as numbers are exact, so what is beyond is an error of the caller's. */
export function offsetOf(offset: bigint): number {
  if (offset > BigInt(Number.MAX_SAFE_INTEGER)) throw new FileError("EFBIG");
  return Number(offset);
}
