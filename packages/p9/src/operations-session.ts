import { chain, onFailure } from "./awaitable.ts";
import type { Qid } from "./codec.ts";
import type { Request } from "./connection.ts";
import { FileError } from "./errno.ts";
import { Fid, Place } from "./fids.ts";
import type { Awaitable, FileOwner } from "./file-system.ts";
import { NO_FID, NO_UID } from "./flags.ts";
import { checkName, need } from "./operation-checks.ts";
import type { Operations } from "./operations.ts";
import { commitAttribute } from "./operations-xattr.ts";

/** Names in a Twalk, at most: P9_MAXWELEM. */
const MAX_NAMES = 16;

/** Attaching, walking, and letting go. */
export const sessionOperations: Operations = {
  Tauth() {
    throw new FileError("EOPNOTSUPP", "no authentication is needed");
  },

  Tattach(request, { fid, afid, aname, uid }) {
    if (afid !== NO_FID) throw new FileError("EINVAL", "no authentication is needed");
    if (aname !== "" && aname !== "/") throw new FileError("ENOENT", aname);
    const { fids, options } = request.connection;
    return reserved(request, fid, () =>
      chain(options.fileSystem.root(), (node) => {
        // A group comes with each request that makes something.
        const owner = { uid: uid === NO_UID ? 0 : uid, gid: 0 };
        fids.set(fid, new Fid(new Place(node), owner));
        return request.answer("Rattach", { qid: node.qid });
      }),
    );
  },

  Twalk(request, { fid, newfid, names }) {
    if (names.length > MAX_NAMES) throw new FileError("EINVAL", `${names.length} names`);
    const from = request.fid(fid);
    if (from.attribute !== undefined) throw new FileError("EBADF");
    for (const name of names) if (name !== "..") checkName(name);
    if (newfid === fid && names.length === 0) return request.answer("Rwalk", { qids: [] });
    const { fids } = request.connection;
    if (newfid === fid) {
      if (from.handle !== undefined || from.opening) throw new FileError("EINVAL", "an open fid can't move");
      return chain(walk(from.place, names), ({ place, qids }) => {
        if (place !== undefined) {
          fids.set(fid, new Fid(place, from.owner));
          // This request still holds the old one.
          void request.connection.endFid(from);
        }
        return request.answer("Rwalk", { qids });
      });
    }
    return reserved(request, newfid, () =>
      chain(walk(from.place, names), ({ place, qids }) => {
        if (place === undefined) fids.remove(newfid);
        else fids.set(newfid, new Fid(place, from.owner));
        return request.answer("Rwalk", { qids });
      }),
    );
  },

  Tclunk(request, { fid }) {
    const { connection } = request;
    const ended = connection.fids.get(fid);
    connection.fids.remove(fid);
    const end = (): Awaitable<Uint8Array> => chain(connection.endFid(ended), () => request.answer("Rclunk", {}));
    if (ended.attribute?.writing === undefined) return end();
    return chain(
      onFailure(
        () => commitAttribute(ended),
        () => void connection.endFid(ended),
      ),
      end,
    );
  },
};

/** Runs `work` for a fid to come; its number is free again when that fails. */
function reserved(request: Request, number: number, work: () => Awaitable<Uint8Array>): Awaitable<Uint8Array> {
  const { fids } = request.connection;
  fids.reserve(number);
  return onFailure(work, () => fids.remove(number));
}

/** Goes from a place along names; no place when a name after the first isn't there. Fails when the first isn't. */
function walk(from: Place, names: readonly string[]): Awaitable<{ place: Place | undefined; qids: Qid[] }> {
  const qids: Qid[] = [];
  let place = from.hold();
  const step = (): Awaitable<{ place: Place | undefined; qids: Qid[] }> => {
    while (qids.length < names.length) {
      const name = names[qids.length]!;
      if (name === "..") {
        // The way back is the way that was come; the root is its own parent.
        const next = (place.parent ?? place).hold();
        place.release();
        place = next;
        qids.push(place.node.qid);
        continue;
      }
      if (place.node.lookup === undefined) throw new FileError("ENOTDIR");
      const found = need(place.node, "lookup")(name);
      return chain(found, (node) => {
        const next = new Place(node, place, name);
        place.release();
        place = next;
        qids.push(node.qid);
        return step();
      });
    }
    return { place, qids };
  };
  const failed = (error: unknown): { place: undefined; qids: Qid[] } => {
    place.release();
    if (qids.length === 0) throw error;
    return { place: undefined, qids };
  };
  try {
    const walked = step();
    return walked instanceof Promise ? walked.catch(failed) : walked;
  } catch (error) {
    return failed(error);
  }
}

/** Who owns what a request makes. */
export function ownerOf({ owner }: Fid, gid: number): FileOwner {
  return { uid: owner.uid, gid };
}
