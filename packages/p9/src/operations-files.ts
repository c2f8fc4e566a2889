import { chain, onFailure } from "./awaitable.ts";
import { HEADER_SIZE } from "./codec.ts";
import type { Request } from "./connection.ts";
import { FileError } from "./errno.ts";
import type { Fid } from "./fids.ts";
import { Fid as NewFid, Place } from "./fids.ts";
import type { Awaitable, FileHandle } from "./file-system.ts";
import { OPEN, QID_TYPE } from "./flags.ts";
import { P9_MESSAGES } from "./messages.ts";
import { checkName, checkWritable, folderFid, need, offsetOf } from "./operation-checks.ts";
import type { Operations } from "./operations.ts";

/** Flags that mean something to a file system; the others are the guest kernel's own business. */
const KEPT_FLAGS = OPEN.accessMode | OPEN.truncate | OPEN.append | OPEN.sync | OPEN.dsync;
const READ_HEADER = HEADER_SIZE + 4;

/** Opening, making, reading and writing files. */
export const fileOperations: Operations = {
  Tlopen(request, { fid: number, flags: asked }) {
    const fid = request.fid(number);
    checkUnopened(fid);
    const flags = asked & KEPT_FLAGS;
    const access = flags & OPEN.accessMode;
    if (access === OPEN.accessMode) throw new FileError("EINVAL");
    const { qid } = fid.node;
    if (qid.type === QID_TYPE.symlink) throw new FileError("ELOOP");
    if (access !== OPEN.readOnly || (flags & OPEN.truncate) !== 0) {
      if (qid.type === QID_TYPE.directory) throw new FileError("EISDIR");
      checkWritable(request);
    }
    if ((asked & OPEN.directory) !== 0 && qid.type !== QID_TYPE.directory) throw new FileError("ENOTDIR");
    fid.opening = true;
    return onFailure(
      () =>
        chain(fid.node.open({ flags, cancellation: request.cancellation }), (handle) =>
          opened(fid, handle, flags, () => request.answer("Rlopen", { qid: fid.node.qid, iounit: 0 })),
        ),
      () => {
        fid.opening = false;
      },
    );
  },

  Tlcreate(request, { fid: number, name, flags: asked, mode, gid }) {
    const fid = folderFid(request, number);
    checkUnopened(fid);
    checkName(name);
    checkWritable(request);
    const create = need(fid.node, "create");
    const flags = asked & (KEPT_FLAGS | OPEN.exclusive);
    if ((flags & OPEN.accessMode) === OPEN.accessMode) throw new FileError("EINVAL");
    const options = {
      flags,
      mode: mode & 0o7777,
      owner: { uid: fid.owner.uid, gid },
      cancellation: request.cancellation,
    };
    fid.opening = true;
    return onFailure(
      () =>
        chain(create(name, options), ({ node, handle }) => {
          // The client's number now stands for the file instead of its folder.
          const file = new NewFid(new Place(node, fid.place, name), fid.owner);
          return opened(
            file,
            handle,
            flags,
            () => {
              request.connection.fids.set(number, file);
              void request.connection.endFid(fid);
              return request.answer("Rlcreate", { qid: node.qid, iounit: 0 });
            },
            fid,
          );
        }),
      () => {
        fid.opening = false;
      },
    );
  },

  Tread(request, { fid: number, offset, count }) {
    const fid = request.fid(number);
    const most = Math.min(count, request.connection.messageSize - READ_HEADER);
    if (fid.attribute !== undefined) return readAttribute(request, fid, offset, most);
    if ((fid.flags & OPEN.accessMode) === OPEN.writeOnly) throw new FileError("EBADF");
    const handle = openHandle(fid);
    if (fid.node.qid.type === QID_TYPE.directory) throw new FileError("EISDIR");
    const read = need(handle, "read");
    // No file is that long.
    if (offset > BigInt(Number.MAX_SAFE_INTEGER)) return readResponse(request.tag, new Uint8Array(READ_HEADER), 0);
    const response = request.connection.buffer(READ_HEADER + most);
    return chain(read(Number(offset), response.subarray(READ_HEADER), request.cancellation), (size) =>
      readResponse(request.tag, response, size),
    );
  },

  Twrite(request, { fid: number, offset, data }) {
    const fid = request.fid(number);
    if (fid.attribute !== undefined) return writeAttribute(request, fid, offset, data);
    const handle = openHandle(fid);
    if ((fid.flags & OPEN.accessMode) === OPEN.readOnly) throw new FileError("EBADF");
    const write = need(handle, "write");
    return chain(write(offsetOf(offset), data, request.cancellation), (count) => request.answer("Rwrite", { count }));
  },

  Tfsync(request, { fid: number, datasync }) {
    const handle = openHandle(request.fid(number));
    if (handle.sync === undefined) throw new FileError("EINVAL", "nothing to be made durable");
    return chain(handle.sync({ dataOnly: datasync !== 0 }), () => request.answer("Rfsync", {}));
  },
};

function checkUnopened(fid: Fid): void {
  if (fid.handle !== undefined || fid.opening || fid.attribute !== undefined)
    throw new FileError("EBADF", "open already");
}

function openHandle(fid: Fid): FileHandle {
  if (fid.handle === undefined) throw new FileError("EBADF", "not open");
  return fid.handle;
}

/** Gives a fid its handle, unless the client let go of it meanwhile. */
function opened(
  fid: Fid,
  handle: FileHandle,
  flags: number,
  answer: () => Uint8Array,
  asked: Fid = fid,
): Awaitable<Uint8Array> {
  fid.handle = handle;
  fid.flags = flags;
  asked.opening = false;
  // A fid that is gone closes what it has when this request, the last one, is over.
  if (!asked.gone) return answer();
  if (asked !== fid)
    return chain(
      fid.end(() => {}),
      () => {
        throw new FileError("EBADF");
      },
    );
  throw new FileError("EBADF");
}

/** Completes an `Rread` whose data were read into place. */
function readResponse(tag: number, buffer: Uint8Array, size: number): Uint8Array {
  const response = buffer.length === READ_HEADER + size ? buffer : buffer.subarray(0, READ_HEADER + size);
  const view = new DataView(response.buffer, response.byteOffset, READ_HEADER);
  view.setUint32(0, response.length, true);
  view.setUint8(4, P9_MESSAGES.Rread.type);
  view.setUint16(5, tag, true);
  view.setUint32(HEADER_SIZE, size, true);
  return response;
}

function readAttribute(request: Request, { attribute }: Fid, offset: bigint, most: number): Uint8Array {
  if (attribute === undefined || attribute.writing !== undefined) throw new FileError("EBADF");
  const { value } = attribute;
  const start = offset > BigInt(value.length) ? value.length : Number(offset);
  return request.answer("Rread", { data: value.subarray(start, Math.min(value.length, start + most)) });
}

function writeAttribute(request: Request, { attribute }: Fid, offset: bigint, data: Uint8Array): Uint8Array {
  if (attribute?.writing === undefined) throw new FileError("EBADF");
  const { value, writing } = attribute;
  if (offset + BigInt(data.length) > BigInt(value.length)) throw new FileError("ENOSPC", "more than was announced");
  value.set(data, Number(offset));
  writing.filled = Math.max(writing.filled, Number(offset) + data.length);
  return request.answer("Rwrite", { count: data.length });
}
