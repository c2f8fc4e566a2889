import { execFileSync, spawn } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createP9Server, encodeName, OPEN, SETATTR } from "@paravirt/p9";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TestClient } from "../../p9/test/client.ts";
import { type HostFolder, openHostFolder } from "./host-folder.ts";

let top: string;
let share: string;
let outside: string;
let folder: HostFolder;
let client: TestClient;

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const openFiles = (): number => readdirSync("/proc/self/fd").length;

beforeEach(async () => {
  top = mkdtempSync(join(tmpdir(), "paravirt-escape-"));
  share = join(top, "share");
  outside = join(top, "outside");
  mkdirSync(share);
  mkdirSync(outside);
  writeFileSync(join(outside, "secret"), "SECRET");
  folder = openHostFolder(share);
  client = await TestClient.attached(createP9Server({ fileSystem: folder }).connect({ maxMessage: 65536 }));
});

afterEach(async () => {
  await client.connection.close();
  folder.close();
  rmSync(top, { recursive: true, force: true });
});

test("links that lead out are links: nothing is read, made, changed or removed through them", async () => {
  symlinkSync(outside, join(share, "out"));
  symlinkSync(join(outside, "secret"), join(share, "file"));
  symlinkSync(join(outside, "made"), join(share, "dangling"));
  symlinkSync("..", join(share, "up"));
  for (const name of ["out", "up"]) {
    expect((await client.ask("Twalk", { fid: 0, newfid: 1, names: [name, "secret"] })).qids.length).toBe(1);
    await client.walk(1, name);
    expect(await client.outcome("Twalk", { fid: 1, newfid: 2, names: ["secret"] })).toBe("ENOTDIR");
    expect(await client.outcome("Tlopen", { fid: 1, flags: 0 })).toBe("ELOOP");
    expect(await client.outcome("Tmkdir", { dfid: 1, name: "x", mode: 0o755, gid: 0 })).toBe("ENOTDIR");
    expect(await client.outcome("Tunlinkat", { dirfid: 1, name: "secret", flags: 0 })).toBe("ENOTDIR");
    expect(await client.outcome("Trenameat", { olddirfid: 0, oldname: "file", newdirfid: 1, newname: "f" })).toBe(
      "ENOTDIR",
    );
    await client.clunk(1);
  }
  for (const name of ["file", "dangling"]) {
    for (const flags of [OPEN.readWrite, OPEN.readWrite | OPEN.truncate, OPEN.readOnly]) {
      await client.walk(1, "/");
      expect(await client.outcome("Tlcreate", { fid: 1, name, flags, mode: 0o644, gid: 0 })).toBe("ELOOP");
      await client.clunk(1);
    }
    await client.walk(1, name);
    const times = { atimeSec: 5n, atimeNsec: 0n, mtimeSec: 5n, mtimeNsec: 0n };
    const set = (valid: number) =>
      client.outcome("Tsetattr", { ...times, fid: 1, valid, mode: 0, uid: 0, gid: 0, size: 0n });
    const before = statSync(join(outside, "secret"));
    expect(await set(SETATTR.mode)).toBe("EOPNOTSUPP");
    expect(await set(SETATTR.size)).toBe("EINVAL");
    expect(await set(0x1b0)).toBe("Rsetattr");
    expect(statSync(join(outside, "secret")).mtimeMs).toBe(before.mtimeMs);
    await client.clunk(1);
  }
  expect(readdirSync(outside)).toEqual(["secret"]);
  expect(readFileSync(join(outside, "secret"), "utf8")).toBe("SECRET");
});

test("a folder that becomes a link while it is walked through never leads out", async () => {
  mkdirSync(join(share, "dir"));
  writeFileSync(join(share, "dir/secret"), "mine");
  symlinkSync(outside, join(share, "link"));
  // Another program swaps them all the time.
  const swapper = spawn(
    "python3",
    [
      "-c",
      `import ctypes, os
libc = ctypes.CDLL(None)
os.chdir("${share}")
print("go", flush=True)
while True:
    libc.renameat2(-100, b"dir", -100, b"link", 2)`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  try {
    await new Promise((resolve) => swapper.stdout.once("data", resolve));
    const seen = new Map<string, number>();
    const until = performance.now() + 3000;
    while (performance.now() < until) {
      let outcome: string;
      const walked = await client.send("Twalk", { fid: 0, newfid: 1, names: ["dir", "secret"] }).answer;
      if (walked.name !== "Rwalk" || walked.fields.qids.length < 2) outcome = "no way";
      else {
        outcome = await client.outcome("Tlopen", { fid: 1, flags: 0 });
        if (outcome === "Rlopen") outcome = text(await client.read(1));
        await client.clunk(1);
      }
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
      await client.walk(2, "/");
      await client.send("Tlcreate", { fid: 2, name: "dir", flags: OPEN.readWrite, mode: 0o644, gid: 0 }).answer;
      await client.send("Tclunk", { fid: 2 }).answer;
    }
    expect([...seen.keys()].sort()).toEqual(["mine", "no way"]);
    expect(readFileSync(join(outside, "secret"), "utf8")).toBe("SECRET");
  } finally {
    swapper.kill("SIGKILL");
  }
});

test("what was found stays what it was: a file swapped for a link after the walk is the old file", async () => {
  writeFileSync(join(share, "f"), "mine");
  await client.walk(1, "f");
  renameSync(join(share, "f"), join(share, "g"));
  symlinkSync(join(outside, "secret"), join(share, "f"));
  expect(await client.outcome("Tlopen", { fid: 1, flags: OPEN.readWrite })).toBe("Rlopen");
  expect(text(await client.read(1))).toBe("mine");
  // By name it is another file now, which isn't touched in its stead.
  expect(await client.outcome("Tlink", { dfid: 0, fid: 1, name: "h" })).toBe("ESTALE");
  await client.walk(2, "f");
  expect(await client.outcome("Tremove", { fid: 1 })).toBe("ENOENT");
  expect(readdirSync(share).sort()).toEqual(["f", "g"]);
});

test("a folder that is moved out of the share takes along who is in it, and nobody gets further out from there", async () => {
  mkdirSync(join(share, "a/b"), { recursive: true });
  await client.walk(1, "a/b");
  renameSync(join(share, "a"), join(outside, "a"));
  // Its own way back: the folders that it was reached through, and not what is above them now.
  const { qids } = await client.ask("Twalk", { fid: 1, newfid: 2, names: ["..", "..", "..", ".."] });
  const root = (await client.ask("Tgetattr", { fid: 0, mask: 0n })).qid.path;
  expect(qids.map(({ path }) => path === root)).toEqual([false, true, true, true]);
  await client.clunk(2);
  const partly = await client.ask("Twalk", { fid: 1, newfid: 2, names: ["..", "..", "secret"] });
  expect(partly.qids.length).toBe(2);
  expect(await client.outcome("Twalk", { fid: 0, newfid: 2, names: ["a"] })).toBe("ENOENT");
});

test("names can't be paths", async () => {
  writeFileSync(join(share, "f"), "x");
  for (const name of ["../outside/secret", "/etc/passwd", "./f", "f/", "..", "a/../../outside/secret"]) {
    const names = [name];
    if (name !== "..") expect(await client.outcome("Twalk", { fid: 0, newfid: 1, names }), name).toBe("EINVAL");
    expect(await client.outcome("Tunlinkat", { dirfid: 0, name, flags: 0 })).toBe("EINVAL");
    expect(await client.outcome("Tsymlink", { dfid: 0, name, target: "x", gid: 0 })).toBe("EINVAL");
    const away = { olddirfid: 0, oldname: "f", newdirfid: 0, newname: name };
    expect(await client.outcome("Trenameat", away)).toBe("EINVAL");
    expect(await client.outcome("Trenameat", { olddirfid: 0, oldname: name, newdirfid: 0, newname: "g" })).toBe(
      "EINVAL",
    );
  }
});

test("FIFOs, sockets and devices are shown, and opening them neither waits nor reaches anything", async () => {
  execFileSync("mkfifo", [join(share, "fifo")]);
  const socket = createServer();
  await new Promise<void>((resolve) => socket.listen(join(share, "socket"), resolve));
  const names = ["fifo", "socket"];
  try {
    execFileSync("mknod", [join(share, "null"), "c", "1", "3"], { stdio: "ignore" });
    names.push("null");
  } catch {
    // Devices take more rights than some containers have.
  }
  for (const name of names) {
    for (const flags of [OPEN.readOnly, OPEN.writeOnly, OPEN.readWrite]) {
      await client.walk(1, name);
      expect(await client.outcome("Tlopen", { fid: 1, flags }), name).toBe("EACCES");
      await client.clunk(1);
      await client.walk(1, "/");
      expect(await client.outcome("Tlcreate", { fid: 1, name, flags, mode: 0o644, gid: 0 })).toBe("EACCES");
      await client.clunk(1);
    }
  }
  socket.close();
});

test("no descriptor is left behind, whatever was done and however it ended", async () => {
  const before = openFiles();
  const other = await TestClient.attached(createP9Server({ fileSystem: folder }).connect({ maxMessage: 65536 }));
  for (let round = 0; round < 20; round++) {
    await other.create(1, "/", `f${round}`);
    await other.clunk(1);
    await other.ask("Tmkdir", { dfid: 0, name: `d${round}`, mode: 0o755, gid: 0 });
    await other.ask("Tsymlink", { dfid: 0, name: `l${round}`, target: "x", gid: 0 });
    await other.ask("Tmknod", { dfid: 0, name: `n${round}`, mode: 0o100644, major: 0, minor: 0, gid: 0 });
    await other.outcome("Tmkdir", { dfid: 0, name: `d${round}`, mode: 0o755, gid: 0 });
    await other.outcome("Twalk", { fid: 0, newfid: 1, names: [`d${round}`, "nothing", "x"] });
    await other.outcome("Twalk", { fid: 0, newfid: 1, names: ["nothing"] });
    await other.open(2 + round, "/");
    await other.ask("Treaddir", { fid: 2 + round, offset: 0n, count: 200 });
    await other.walk(100 + round, `d${round}`);
    await other.walk(200 + round, "..", 100 + round);
    await other.outcome("Trenameat", { olddirfid: 0, oldname: `l${round}`, newdirfid: 100 + round, newname: "l" });
    await other.outcome("Tremove", { fid: 100 + round });
  }
  expect(openFiles()).toBeGreaterThan(before + 15);
  await other.connection.close();
  expect(openFiles()).toBe(before);
});

test("names that aren't UTF-8 are the same on both sides", async () => {
  const raw = Buffer.concat([Buffer.from(`${share}/`), Buffer.from([0x66, 0xff, 0xfe])]);
  writeFileSync(raw, "bytes");
  await client.open(1, "f\udcff\udcfe");
  expect(text(await client.read(1))).toBe("bytes");
  await client.ask("Trenameat", { olddirfid: 0, oldname: "f\udcff\udcfe", newdirfid: 0, newname: "g\udc80ü" });
  const names = readdirSync(share, { encoding: "buffer" });
  expect(names).toEqual([Buffer.from([0x67, 0x80, 0xc3, 0xbc])]);
  expect(encodeName("g\udc80ü")).toEqual(new Uint8Array(names[0]!));
});

test("what the host does is seen: new files, contents, times, links", async () => {
  writeFileSync(join(share, "f"), "one");
  await client.open(1, "f");
  writeFileSync(join(share, "f"), "twotwo");
  expect(text(await client.read(1))).toBe("twotwo");
  linkSync(join(share, "f"), join(share, "g"));
  const attributes = () => client.ask("Tgetattr", { fid: 1, mask: 0n });
  expect((await attributes()).nlink).toBe(2n);
  const set = { fid: 1, valid: 0x1b0, mode: 0, uid: 0, gid: 0, size: 0n, atimeSec: 9n, atimeNsec: 1n };
  await client.ask("Tsetattr", { ...set, mtimeSec: 1_700_000_000n, mtimeNsec: 123_456_789n });
  expect(statSync(join(share, "f"), { bigint: true }).mtimeNs / 1000n).toBe(1_700_000_000_123_456n);
  expect((await attributes()).mtimeNsec).toBe(123_456_789n);
  utimesSync(join(share, "g"), 7, 8);
  expect(await attributes()).toMatchObject({ atimeSec: 7n, atimeNsec: 0n, mtimeSec: 8n, mtimeNsec: 0n });
  const early = { ...set, atimeSec: BigInt.asUintN(64, -5n), mtimeSec: 0n, mtimeNsec: 0n };
  expect(await client.outcome("Tsetattr", early)).toBe("EINVAL");
});

test("for anybody but root, own files are the guest's root's, others are nobody's, and owners stay", async () => {
  if (process.getuid?.() !== 0) return;
  writeFileSync(join(share, "roots"), "x", { mode: 0o600 });
  execFileSync("chown", ["-R", "65534:65534", top]);
  execFileSync("chown", ["0:0", join(share, "roots")]);
  execFileSync("chmod", ["755", top]);
  process.setegid!(65534);
  process.seteuid!(65534);
  const mapped = openHostFolder(share);
  const user = await TestClient.attached(createP9Server({ fileSystem: mapped }).connect({ maxMessage: 8192 }));
  try {
    await user.create(1, "/", "made", 2, 0o640);
    const attributes = (fid: number) => user.ask("Tgetattr", { fid, mask: 0n });
    expect(await attributes(1)).toMatchObject({ uid: 0, gid: 0, mode: 0o100640 });
    await user.walk(2, "roots");
    expect(await attributes(2)).toMatchObject({ uid: 65534, gid: 65534 });
    expect(await user.outcome("Tlopen", { fid: 2, flags: 0 })).toBe("EACCES");
    const times = { atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n };
    const chown = (fid: number, uid: number) =>
      user.outcome("Tsetattr", { ...times, fid, valid: SETATTR.uid, mode: 0, uid, gid: 0, size: 0n });
    expect(await chown(1, 0)).toBe("Rsetattr");
    expect(await chown(1, 1000)).toBe("EPERM");
    expect(await chown(2, 0)).toBe("EPERM");
    expect(await user.outcome("Tmkdir", { dfid: 0, name: "d", mode: 0o777, gid: 5 })).toBe("Rmkdir");
    expect(await user.outcome("Tsymlink", { dfid: 0, name: "l", target: "x", gid: 5 })).toBe("Rsymlink");
  } finally {
    await user.connection.close();
    mapped.close();
    process.seteuid!(0);
    process.setegid!(0);
  }
  expect(statSync(join(share, "d"))).toMatchObject({ uid: 65534, gid: 65534, mode: 0o40777 });
});

test("a folder that isn't there can't be shared", () => {
  expect(() => openHostFolder(join(top, "nothing"))).toThrow(expect.objectContaining({ code: "UNAVAILABLE" }));
  expect(() => openHostFolder(join(outside, "secret"))).toThrow(expect.objectContaining({ code: "UNAVAILABLE" }));
});
