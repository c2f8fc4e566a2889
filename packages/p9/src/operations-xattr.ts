import { chain } from "./awaitable.ts";
import { FileError } from "./errno.ts";
import { type AttributeAccess, Fid } from "./fids.ts";
import type { Awaitable, ExtendedAttributes, FileNode } from "./file-system.ts";
import { XATTR } from "./flags.ts";
import { encodeName } from "./names.ts";
import { checkWritable } from "./operation-checks.ts";
import type { Operations } from "./operations.ts";

/** Bytes of a value, at most: Linux's XATTR_SIZE_MAX. */
const MAX_VALUE = 65536n;
const MAX_NAME = 255;

/** Extended attributes, which the protocol reads and writes through fids of their own. */
export const extendedAttributeOperations: Operations = {
  Txattrwalk(request, { fid: number, newfid, name }) {
    const from = request.fid(number);
    const attributes = attributesOf(from.node);
    const { fids } = request.connection;
    const value =
      name === ""
        ? chain(attributes.list(), (names) => encodeName(names.map((one) => `${one}\0`).join("")))
        : chain(attributes.get(name), (found) => {
            if (found === undefined) throw new FileError("ENODATA", name);
            return found;
          });
    return chain(value, (bytes) => {
      fids.reserve(newfid);
      const fid = new Fid(from.place.hold(), from.owner);
      fid.attribute = { name, value: bytes };
      fids.set(newfid, fid);
      return request.answer("Rxattrwalk", { size: BigInt(bytes.length) });
    });
  },

  Txattrcreate(request, { fid: number, name, size, flags }) {
    const fid = request.fid(number);
    checkWritable(request);
    attributesOf(fid.node);
    if (name === "" || encodeName(name).length > MAX_NAME) throw new FileError("ERANGE");
    if (size > MAX_VALUE) throw new FileError("E2BIG");
    if ((flags & ~(XATTR.create | XATTR.replace)) !== 0) throw new FileError("EINVAL");
    if (fid.handle !== undefined || fid.opening || fid.attribute !== undefined) throw new FileError("EINVAL", "in use");
    fid.attribute = { name, value: new Uint8Array(Number(size)), writing: { flags, filled: 0 } };
    return request.answer("Rxattrcreate", {});
  },
};

/** Sets what was written through a fid, when it is let go; a value of no bytes takes the attribute away. */
export function commitAttribute({ attribute, node }: Fid): Awaitable<void> {
  const { name, value, writing } = attribute as AttributeAccess;
  if (writing === undefined) return;
  if (writing.filled !== value.length) throw new FileError("EINVAL", "fewer bytes than were announced");
  const attributes = attributesOf(node);
  return value.length === 0 ? attributes.remove(name) : attributes.set(name, value, writing.flags);
}

function attributesOf(node: FileNode): ExtendedAttributes {
  if (node.extendedAttributes === undefined) throw new FileError("EOPNOTSUPP", "no extended attributes");
  return node.extendedAttributes;
}
