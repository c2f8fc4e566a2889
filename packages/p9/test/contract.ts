import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import type { P9Fields } from "../src/codec.ts";
import type { FileSystem } from "../src/file-system.ts";
import { AT_REMOVEDIR, FILE_TYPE, OPEN, QID_TYPE, SETATTR } from "../src/flags.ts";
import { decodeName } from "../src/names.ts";
import { createP9Server, type P9Server } from "../src/server.ts";
import { TestClient } from "./client.ts";

/** A file system to be tried, empty. */
export interface Candidate {
  readonly fileSystem: FileSystem;
  /** Whether owners can be anything. */
  readonly owners: boolean;
  /** Whether FIFOs and devices can be made. */
  readonly specials: boolean;
  /** Whether it has extended attributes. */
  readonly extended: boolean;
  close(): void;
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const SECOND = 1_000_000_000n;

/** What every file system must do, seen through the protocol. */
export function fileSystemContract(name: string, make: () => Candidate): void {
  let candidate: Candidate | undefined;
  let server: P9Server;
  let client: TestClient;

  async function start(): Promise<TestClient> {
    candidate = make();
    server = createP9Server({
      fileSystem: candidate.fileSystem,
      onError: (error) => {
        throw error;
      },
    });
    client = await TestClient.attached(server.connect({ maxMessage: 1 << 20 }));
    return client;
  }

  afterEach(async () => {
    await client.connection.close();
    expect(client.connection.openFids).toBe(0);
    candidate?.close();
    candidate = undefined;
  });

  const attributes = async (path: string): Promise<P9Fields<"Rgetattr">> => {
    await client.walk(900, path);
    const found = await client.ask("Tgetattr", { fid: 900, mask: 0x7ffn });
    await client.clunk(900);
    return found;
  };
  const put = async (folder: string, file: string, contents: string | Uint8Array): Promise<void> => {
    await client.create(901, folder, file);
    await client.write(901, contents);
    await client.clunk(901);
  };
  const get = async (path: string): Promise<string> => {
    await client.open(902, path);
    const contents = text(await client.read(902));
    await client.clunk(902);
    return contents;
  };
  const set = async (path: string, fields: Partial<P9Fields<"Tsetattr">>): Promise<string> => {
    await client.walk(903, path);
    const all = {
      valid: 0,
      mode: 0,
      uid: 0,
      gid: 0,
      size: 0n,
      atimeSec: 0n,
      atimeNsec: 0n,
      mtimeSec: 0n,
      mtimeNsec: 0n,
    };
    const outcome = await client.outcome("Tsetattr", { ...all, ...fields, fid: 903 });
    await client.clunk(903);
    return outcome;
  };
  const list = async (path: string, count?: number): Promise<string[]> => {
    await client.open(904, path);
    const names = await client.names(904, count);
    await client.clunk(904);
    return names;
  };
  const mkdir = (dfid: number, folder: string, mode = 0o755) =>
    client.outcome("Tmkdir", { dfid, name: folder, mode, gid: 0 });
  const unlink = (dirfid: number, file: string, flags = 0) =>
    client.outcome("Tunlinkat", { dirfid, name: file, flags });
  const rename = (olddirfid: number, oldname: string, newdirfid: number, newname: string) =>
    client.outcome("Trenameat", { olddirfid, oldname, newdirfid, newname });

  test(`${name}: what is written is read, at any offset, also by others and after the end of all handles`, async () => {
    await start();
    await client.create(1, "/", "file");
    expect(await client.write(1, "hello world")).toBe(11);
    expect(await client.write(1, "W", 6)).toBe(1);
    expect(text(await client.read(1))).toBe("hello World");
    expect(text(await client.read(1, 6, 3))).toBe("Wor");
    expect(text(await client.read(1, 11))).toBe("");
    expect(text(await client.read(1, 1e15))).toBe("");
    await client.clunk(1);
    const other = await TestClient.attached(server.connect({ maxMessage: 8192 }));
    await other.open(1, "file");
    expect(text(await other.read(1))).toBe("hello World");
    await other.connection.close();
  });

  test(`${name}: a hole reads as zeros and takes no room, and a file has the size that it is given`, async () => {
    await start();
    await client.create(1, "/", "sparse");
    await client.write(1, "end", 1 << 24);
    const { size, blocks } = await attributes("sparse");
    expect(size).toBe(BigInt((1 << 24) + 3));
    expect(blocks).toBeLessThan(1n << 14n);
    expect([...(await client.read(1, 1000, 4))]).toEqual([0, 0, 0, 0]);
    expect(await set("sparse", { valid: SETATTR.size, size: BigInt((1 << 24) + 1) })).toBe("Rsetattr");
    expect(await set("sparse", { valid: SETATTR.size, size: BigInt((1 << 24) + 5) })).toBe("Rsetattr");
    expect([...(await client.read(1, 1 << 24))]).toEqual([101, 0, 0, 0, 0]);
    await client.clunk(1);
    expect(await set("/", { valid: SETATTR.size, size: 0n })).toBe("EISDIR");
  });

  test(`${name}: random writes and truncations leave what they leave in an array`, async () => {
    await start();
    const step = fc.record({
      at: fc.nat(200_000),
      size: fc.nat(30_000),
      value: fc.integer({ min: 1, max: 255 }),
      cut: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        await client.create(1, "/", "model", OPEN.readWrite | OPEN.truncate);
        let model = new Uint8Array(0);
        const resize = (size: number): void => {
          const next = new Uint8Array(size);
          next.set(model.subarray(0, size));
          model = next;
        };
        for (const { at, size, value, cut } of steps) {
          if (cut) {
            await set("model", { valid: SETATTR.size, size: BigInt(at) });
            resize(at);
          } else if (size > 0) {
            await client.write(1, new Uint8Array(size).fill(value), at);
            if (model.length < at + size) resize(at + size);
            model.fill(value, at, at + size);
          }
        }
        expect((await attributes("model")).size).toBe(BigInt(model.length));
        for (let at = 0; at < model.length; at += 60_000)
          expect(Buffer.compare(await client.read(1, at, 60_000), model.subarray(at, at + 60_000))).toBe(0);
        await client.clunk(1);
      }),
      { numRuns: 25 },
    );
  });

  test(`${name}: appending goes to the end whatever the offset, and truncating empties`, async () => {
    await start();
    await put("/", "log", "one");
    await client.open(1, "log", OPEN.writeOnly | OPEN.append);
    await client.write(1, "two", 0);
    await client.clunk(1);
    expect(await get("log")).toBe("onetwo");
    await client.open(1, "log", OPEN.readWrite | OPEN.truncate);
    expect((await client.read(1)).length).toBe(0);
    await client.clunk(1);
  });

  test(`${name}: making a file that is there fails when it must be new, and opens it otherwise`, async () => {
    await start();
    await put("/", "there", "old");
    await client.walk(1, "/");
    const create = { fid: 1, name: "there", flags: OPEN.readWrite | OPEN.exclusive, mode: 0o600, gid: 0 };
    expect(await client.outcome("Tlcreate", create)).toBe("EEXIST");
    await client.ask("Tlcreate", { ...create, flags: OPEN.readWrite });
    expect(text(await client.read(1))).toBe("old");
    await client.clunk(1);
    expect((await attributes("there")).mode).toBe(FILE_TYPE.regular | 0o644);
    for (const mode of [0o777, 0o4755, 0o600, 0]) {
      await client.create(1, "/", `mode${mode}`, OPEN.writeOnly, mode);
      await client.clunk(1);
      expect((await attributes(`mode${mode}`)).mode).toBe(FILE_TYPE.regular | mode);
    }
  });

  test(`${name}: folders come and go, empty ones only`, async () => {
    await start();
    expect(await mkdir(0, "a", 0o700)).toBe("Rmkdir");
    expect(await mkdir(0, "a")).toBe("EEXIST");
    const found = await attributes("a");
    expect([found.mode, found.qid.type]).toEqual([FILE_TYPE.directory | 0o700, QID_TYPE.directory]);
    await put("/a", "f", "x");
    expect(await unlink(0, "a", AT_REMOVEDIR)).toBe("ENOTEMPTY");
    expect(await unlink(0, "a")).toBe("EISDIR");
    await client.walk(1, "/a");
    expect(await unlink(1, "f", AT_REMOVEDIR)).toBe("ENOTDIR");
    expect(await unlink(1, "f")).toBe("Runlinkat");
    expect(await unlink(1, "f")).toBe("ENOENT");
    expect(await unlink(0, "a", AT_REMOVEDIR)).toBe("Runlinkat");
    // Held, and gone: nothing can be made in it any more.
    expect(await mkdir(1, "b")).toBe("ENOENT");
    await client.clunk(1);
    expect(await client.outcome("Twalk", { fid: 0, newfid: 1, names: ["a"] })).toBe("ENOENT");
  });

  test(`${name}: a file lives as long as it is open, without a name`, async () => {
    await start();
    await put("/", "f", "still here");
    await client.open(1, "f", OPEN.readWrite);
    expect(await unlink(0, "f")).toBe("Runlinkat");
    expect(text(await client.read(1))).toBe("still here");
    await client.write(1, "S");
    expect((await client.ask("Tgetattr", { fid: 1, mask: 0x7ffn })).nlink).toBe(0n);
    expect(text(await client.read(1, 0, 5))).toBe("Still");
    await client.clunk(1);
  });

  test(`${name}: a listing has every name once, in pieces of any size, . and .. first`, async () => {
    await start();
    await mkdir(0, "d");
    const wanted = [".", ".."];
    for (let index = 0; index < 700; index++) {
      wanted.push(`file-${index}`);
      await put("/d", `file-${index}`, "");
    }
    for (const count of [300, 1000, 65000]) expect((await list("d", count)).sort()).toEqual([...wanted].sort());
    expect((await list("d")).slice(0, 2)).toEqual([".", ".."]);
    // From the beginning again, and from the middle.
    await client.open(1, "d");
    const first = await client.ask("Treaddir", { fid: 1, offset: 0n, count: 500 });
    await client.ask("Treaddir", { fid: 1, offset: 200n, count: 500 });
    const again = await client.ask("Treaddir", { fid: 1, offset: 0n, count: 500 });
    expect(again.data).toEqual(first.data);
    expect(await client.outcome("Treaddir", { fid: 1, offset: 0n, count: 20 })).toBe("EINVAL");
    await client.clunk(1);
  });

  test(`${name}: all files of a folder can be removed while it is listed`, async () => {
    await start();
    await mkdir(0, "d");
    for (let index = 0; index < 600; index++) await put("/d", `f${index}`, "");
    await client.walk(1, "d");
    await client.open(2, "d");
    for (let offset = 0n; ; ) {
      const { data } = await client.ask("Treaddir", { fid: 2, offset, count: 2000 });
      if (data.length === 0) break;
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
      for (let at = 0; at < data.length; ) {
        const length = view.getUint16(at + 22, true);
        offset = view.getBigUint64(at + 13, true);
        const file = text(data.subarray(at + 24, at + 24 + length));
        if (!file.startsWith(".")) expect(await unlink(1, file)).toBe("Runlinkat");
        at += 24 + length;
      }
    }
    await client.clunk(2);
    await client.clunk(1);
    expect(await unlink(0, "d", AT_REMOVEDIR)).toBe("Runlinkat");
  });

  test(`${name}: symbolic links say what they were told, whatever that is, and are never followed`, async () => {
    await start();
    await put("/", "f", "x");
    for (const target of ["f", "/etc/passwd", "../../..", "nowhere", "ü/\udcff"]) {
      await client.ask("Tsymlink", { dfid: 0, name: "link", target, gid: 0 });
      const found = await attributes("link");
      expect([found.mode & FILE_TYPE.mask, found.qid.type]).toEqual([FILE_TYPE.symlink, QID_TYPE.symlink]);
      await client.walk(1, "link");
      expect(await client.ask("Treadlink", { fid: 1 })).toEqual({ target });
      expect(await client.outcome("Tlopen", { fid: 1, flags: 0 })).toBe("ELOOP");
      expect(await client.outcome("Twalk", { fid: 1, newfid: 2, names: ["f"] })).toBe("ENOTDIR");
      expect(await client.ask("Twalk", { fid: 0, newfid: 2, names: ["link", "f"] })).toMatchObject({ qids: [{}] });
      expect(await client.outcome("Tclunk", { fid: 2 })).toBe("EBADF");
      await client.clunk(1);
      await client.walk(1, "/");
      expect(await client.outcome("Tlcreate", { fid: 1, name: "link", flags: 1, mode: 0o644, gid: 0 })).toMatch(
        /ELOOP|EINVAL/,
      );
      await client.clunk(1);
      expect(await unlink(0, "link")).toBe("Runlinkat");
    }
    await client.walk(1, "f");
    expect(await client.outcome("Treadlink", { fid: 1 })).toBe("EINVAL");
    await client.clunk(1);
  });

  test(`${name}: hard links are one file with two names`, async () => {
    await start();
    await put("/", "a", "one");
    await client.walk(1, "a");
    expect(await client.outcome("Tlink", { dfid: 0, fid: 1, name: "b" })).toBe("Rlink");
    expect(await client.outcome("Tlink", { dfid: 0, fid: 1, name: "b" })).toBe("EEXIST");
    expect(await client.outcome("Tlink", { dfid: 0, fid: 0, name: "c" })).toBe("EPERM");
    await client.clunk(1);
    const [a, b] = [await attributes("a"), await attributes("b")];
    expect([a.nlink, a.qid.path]).toEqual([2n, b.qid.path]);
    await client.open(1, "b", OPEN.writeOnly);
    await client.write(1, "two");
    await client.clunk(1);
    expect(await get("a")).toBe("two");
    expect(await unlink(0, "a")).toBe("Runlinkat");
    expect((await attributes("b")).nlink).toBe(1n);
  });

  test(`${name}: renaming moves, replaces, and refuses what can't be`, async () => {
    await start();
    await mkdir(0, "a");
    await mkdir(0, "b");
    await put("/a", "f", "1");
    await put("/b", "g", "2");
    await client.walk(1, "a");
    await client.walk(2, "b");
    expect(await rename(1, "f", 2, "h")).toBe("Rrenameat");
    expect(await rename(1, "f", 2, "h")).toBe("ENOENT");
    expect(await rename(2, "h", 2, "g")).toBe("Rrenameat");
    expect(await get("b/g")).toBe("1");
    expect(await rename(0, "a", 1, "x")).toBe("EINVAL");
    expect(await rename(0, "a", 2, "g")).toBe("ENOTDIR");
    expect(await rename(2, "g", 0, "a")).toBe("EISDIR");
    expect(await rename(0, "a", 0, "b")).toBe("ENOTEMPTY");
    expect(await rename(0, "b", 0, "a")).toBe("Rrenameat");
    expect(await list("/")).toEqual([".", "..", "a"]);
    expect(await get("a/g")).toBe("1");
    // A folder that is held has moved along.
    await client.walk(3, "g", 2);
    await client.clunk(3);
    // By fid, which Linux does without renameat.
    await client.walk(3, "a/g");
    expect(await client.outcome("Trename", { fid: 3, dfid: 0, name: "top" })).toBe("Rrename");
    await client.clunk(3);
    expect(await get("top")).toBe("1");
    await client.walk(3, "top");
    expect(await client.outcome("Tremove", { fid: 3 })).toBe("Rremove");
    expect(await client.outcome("Tclunk", { fid: 3 })).toBe("EBADF");
    expect(await list("/")).toEqual([".", "..", "a"]);
  });

  test(`${name}: a link that is held keeps working under its new name`, async () => {
    await start();
    await mkdir(0, "d");
    await client.ask("Tsymlink", { dfid: 0, name: "l", target: "t", gid: 0 });
    await client.walk(1, "l");
    await client.walk(2, "d");
    expect(await rename(0, "l", 2, "m")).toBe("Rrenameat");
    expect(await client.ask("Treadlink", { fid: 1 })).toEqual({ target: "t" });
    expect(await client.outcome("Tlink", { dfid: 0, fid: 1, name: "n" })).toBe("Rlink");
    await client.walk(3, "n");
    expect(await client.ask("Treadlink", { fid: 3 })).toEqual({ target: "t" });
  });

  test(`${name}: times are kept to the nanosecond, one by one, and now is later than before`, async () => {
    await start();
    await put("/", "f", "x");
    const before = await attributes("f");
    const [atimeSec, atimeNsec, mtimeSec, mtimeNsec] = [981173106n, 123456789n, 1700000000n, 987654321n];
    const both = SETATTR.atime | SETATTR.mtime | SETATTR.atimeSet | SETATTR.mtimeSet;
    expect(await set("f", { valid: both, atimeSec, atimeNsec, mtimeSec, mtimeNsec })).toBe("Rsetattr");
    expect(await attributes("f")).toMatchObject({ atimeSec, atimeNsec, mtimeSec, mtimeNsec });
    expect(await set("f", { valid: SETATTR.atime | SETATTR.atimeSet, atimeSec: 5n, atimeNsec: 7n })).toBe("Rsetattr");
    expect(await attributes("f")).toMatchObject({ atimeSec: 5n, atimeNsec: 7n, mtimeSec, mtimeNsec });
    expect(await set("f", { valid: SETATTR.mtime })).toBe("Rsetattr");
    const after = await attributes("f");
    expect(after.atimeNsec).toBe(7n);
    const at = (seconds: bigint, nanoseconds: bigint) => seconds * SECOND + nanoseconds;
    expect(at(after.mtimeSec, after.mtimeNsec)).toBeGreaterThanOrEqual(at(before.mtimeSec, before.mtimeNsec));
    expect(await set("f", { valid: both, atimeNsec: SECOND })).toBe("EINVAL");
  });

  test(`${name}: permissions change; owners as far as they can`, async () => {
    await start();
    await put("/", "f", "x");
    expect(await set("f", { valid: SETATTR.mode, mode: 0o4711 })).toBe("Rsetattr");
    expect((await attributes("f")).mode).toBe(FILE_TYPE.regular | 0o4711);
    const { uid, gid } = await attributes("f");
    expect([uid, gid]).toEqual([0, 0]);
    expect(await set("f", { valid: SETATTR.uid | SETATTR.gid, uid, gid })).toBe("Rsetattr");
    const changed = await set("f", { valid: SETATTR.uid | SETATTR.gid, uid: 12, gid: 34 });
    expect(changed).toBe(candidate!.owners ? "Rsetattr" : "EPERM");
    if (!candidate!.owners) return;
    expect(await attributes("f")).toMatchObject({ uid: 12, gid: 34 });
    const user = await TestClient.attached(server.connect({ maxMessage: 8192 }));
    await user.ask("Tattach", { fid: 1, afid: 0xffffffff, uname: "", aname: "", uid: 1000 });
    await user.ask("Tlcreate", { fid: 1, name: "mine", flags: 1, mode: 0o600, gid: 100 });
    await user.connection.close();
    expect(await attributes("mine")).toMatchObject({ uid: 1000, gid: 100 });
  });

  test(`${name}: FIFOs and devices are made, or refused by name`, async () => {
    await start();
    const node = (file: string, mode: number, major = 0, minor = 0) =>
      client.outcome("Tmknod", { dfid: 0, name: file, mode, major, minor, gid: 0 });
    expect(await node("plain", FILE_TYPE.regular | 0o640)).toBe("Rmknod");
    expect((await attributes("plain")).mode).toBe(FILE_TYPE.regular | 0o640);
    expect(await node("plain", FILE_TYPE.regular | 0o640)).toBe("EEXIST");
    expect(await node("folder", FILE_TYPE.directory)).toBe("EINVAL");
    const answer = candidate!.specials ? "Rmknod" : "EPERM";
    expect(await node("fifo", FILE_TYPE.fifo | 0o600)).toBe(answer);
    expect(await node("device", FILE_TYPE.character | 0o600, 5, 300)).toBe(answer);
    if (!candidate!.specials) return;
    expect(await attributes("device")).toMatchObject({ mode: FILE_TYPE.character | 0o600, rdev: 0x10052cn });
    await client.walk(1, "fifo");
    expect(await client.outcome("Tlopen", { fid: 1, flags: 0 })).toBe("EINVAL");
  });

  test(`${name}: extended attributes are there, or aren't supported`, async () => {
    await start();
    await put("/", "f", "x");
    await client.walk(1, "f");
    const walk = (fid: number, attribute: string) =>
      client.outcome("Txattrwalk", { fid: 1, newfid: fid, name: attribute });
    if (!candidate!.extended) {
      expect(await walk(2, "user.a")).toBe("EOPNOTSUPP");
      expect(await walk(2, "")).toBe("EOPNOTSUPP");
      expect(await client.outcome("Txattrcreate", { fid: 1, name: "user.a", size: 1n, flags: 0 })).toBe("EOPNOTSUPP");
      return;
    }
    const put9 = async (attribute: string, value: string, flags = 0): Promise<string> => {
      await client.walk(5, "f");
      const size = BigInt(value.length);
      const created = await client.outcome("Txattrcreate", { fid: 5, name: attribute, size, flags });
      if (created === "Rxattrcreate" && value !== "") await client.write(5, value);
      return client.outcome("Tclunk", { fid: 5 });
    };
    expect(await walk(2, "user.a")).toBe("ENODATA");
    expect(await put9("user.a", "value")).toBe("Rclunk");
    expect(await put9("user.a", "other", 1)).toBe("EEXIST");
    expect(await put9("user.b", "other", 2)).toBe("ENODATA");
    expect(await put9("user.b", "second")).toBe("Rclunk");
    expect(await client.ask("Txattrwalk", { fid: 1, newfid: 2, name: "user.a" })).toEqual({ size: 5n });
    expect(text(await client.read(2))).toBe("value");
    await client.clunk(2);
    await client.ask("Txattrwalk", { fid: 1, newfid: 2, name: "" });
    expect(text(await client.read(2))).toBe("user.a\0user.b\0");
    await client.clunk(2);
    expect(await put9("user.a", "")).toBe("Rclunk");
    expect(await walk(2, "user.a")).toBe("ENODATA");
  });

  test(`${name}: names may be any bytes but / and NUL; what can't be a name is refused`, async () => {
    await start();
    const long = "ä".repeat(127);
    for (const file of ["a b\n", "\udcff\udcfe", "漢字😀", "-rf", "...", long, `${long}x`]) {
      await put("/", file, file.length === 3 ? "y" : "x");
      await client.walk(1, "/");
      expect(await client.outcome("Twalk", { fid: 1, newfid: 2, names: [file] })).toBe("Rwalk");
      await client.clunk(2);
      await client.clunk(1);
    }
    expect(decodeName(new Uint8Array([0xff, 0xfe]))).toBe("\udcff\udcfe");
    for (const [file, error] of [
      ["", "EINVAL"],
      [".", "EINVAL"],
      ["..", "EINVAL"],
      ["a/b", "EINVAL"],
      ["a\0b", "EINVAL"],
      [`${long}xy`, "ENAMETOOLONG"],
    ] as const) {
      expect(await mkdir(0, file), JSON.stringify(file)).toBe(error);
      expect(await unlink(0, file)).toBe(error);
      expect(await rename(0, "...", 0, file)).toBe(error);
      await client.walk(1, "/");
      expect(await client.outcome("Tlcreate", { fid: 1, name: file, flags: 1, mode: 0, gid: 0 })).toBe(error);
      if (file !== "..") expect(await client.outcome("Twalk", { fid: 1, newfid: 2, names: [file] })).toBe(error);
      await client.clunk(1);
    }
  });

  test(`${name}: .. goes back the way that was come, and no further than the root`, async () => {
    await start();
    await mkdir(0, "a");
    await client.walk(1, "a");
    await mkdir(1, "b");
    const root = (await attributes("/")).qid.path;
    const up = async (names: string[]): Promise<bigint> => {
      const { qids } = await client.ask("Twalk", { fid: 0, newfid: 2, names });
      await client.clunk(2);
      return qids[qids.length - 1]!.path;
    };
    expect(await up(["..", "..", ".."])).toBe(root);
    expect(await up(["a", "b", "..", "..", "..", ".."])).toBe(root);
    expect(await up(["a", "b", ".."])).toBe((await attributes("a")).qid.path);
    // The folder moves; its old way back is still inside.
    await client.walk(3, "a/b");
    expect(await rename(1, "b", 0, "c")).toBe("Rrenameat");
    await client.walk(4, "..", 3);
    await client.walk(5, "../..", 3);
    expect((await client.ask("Tgetattr", { fid: 5, mask: 0n })).qid.path).toBe(root);
  });

  test(`${name}: the numbers of df are there, and fsync is answered`, async () => {
    await start();
    const found = await client.ask("Tstatfs", { fid: 0 });
    expect(found.blocks).toBeGreaterThan(0n);
    expect(found.bfree).toBeLessThanOrEqual(found.blocks);
    expect([found.type, found.namelen]).toEqual([0x01021997, 255]);
    await client.create(1, "/", "f");
    await client.write(1, "x");
    expect(await client.outcome("Tfsync", { fid: 1, datasync: 0 })).toBe("Rfsync");
    expect(await client.outcome("Tfsync", { fid: 1, datasync: 1 })).toBe("Rfsync");
    await client.open(2, "/");
    expect(await client.outcome("Tfsync", { fid: 2, datasync: 0 })).toBe("Rfsync");
    expect(await client.outcome("Tfsync", { fid: 0, datasync: 0 })).toBe("EBADF");
  });

  test(`${name}: handles do what they were opened for, and no more`, async () => {
    await start();
    await put("/", "f", "x");
    await client.open(1, "f", OPEN.readOnly);
    expect(await client.outcome("Twrite", { fid: 1, offset: 0n, data: new Uint8Array(1) })).toBe("EBADF");
    await client.open(2, "f", OPEN.writeOnly);
    expect(await client.outcome("Tread", { fid: 2, offset: 0n, count: 1 })).toBe("EBADF");
    expect(await client.outcome("Tlopen", { fid: 2, flags: 0 })).toBe("EBADF");
    await client.walk(3, "/");
    expect(await client.outcome("Tlopen", { fid: 3, flags: OPEN.readWrite })).toBe("EISDIR");
    expect(await client.outcome("Treaddir", { fid: 3, offset: 0n, count: 100 })).toBe("EBADF");
    expect(await client.outcome("Tread", { fid: 0, offset: 0n, count: 1 })).toBe("EBADF");
    await client.walk(4, "f");
    expect(await client.outcome("Tlopen", { fid: 4, flags: OPEN.directory })).toBe("ENOTDIR");
    expect(await client.outcome("Tmkdir", { dfid: 4, name: "x", mode: 0, gid: 0 })).toBe("ENOTDIR");
  });
}
