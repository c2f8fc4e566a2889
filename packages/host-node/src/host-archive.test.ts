import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ArchiveEntry, joinArchives, readCpio, writeCpio } from "@paravirt/boot";
import { isParavirtError } from "@paravirt/core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hostFileArchive } from "./host-archive.ts";

let folder: string;
const contents = (files: Uint8Array): Map<string, ArchiveEntry> =>
  new Map(readCpio(files).map((entry) => [entry.path, entry]));
const text = (entry: ArchiveEntry | undefined): string => Buffer.from(entry?.data ?? []).toString();

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "paravirt-host-archive-"));
  const tree = join(folder, "tree");
  mkdirSync(join(tree, "sub/empty"), { recursive: true });
  writeFileSync(join(tree, "file"), "one");
  writeFileSync(join(tree, "sub/größe"), "two");
  chmodSync(join(tree, "file"), 0o4751);
  chmodSync(join(tree, "sub"), 0o700);
  symlinkSync("../file", join(tree, "sub/link"));
  symlinkSync("/nowhere", join(tree, "dangling"));
  symlinkSync("tree", join(folder, "alias"));
  execFileSync("mkfifo", [join(tree, "fifo")]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a folder comes with modes, links and special files, and cpio unpacks it", () => {
  const archive = hostFileArchive([{ hostPath: join(folder, "tree"), guestPath: "/opt/here" }]);
  const files = contents(archive);
  expect([...files.keys()].sort()).toEqual(
    ["opt", "opt/here", "opt/here/dangling", "opt/here/fifo", "opt/here/file", "opt/here/sub"].concat(
      ["empty", "größe", "link"].map((name) => `opt/here/sub/${name}`),
    ),
  );
  expect(files.get("opt/here/file")).toMatchObject({ type: "file", mode: 0o4751 });
  expect(text(files.get("opt/here/file"))).toBe("one");
  expect(files.get("opt/here/sub")).toMatchObject({ type: "directory", mode: 0o700 });
  expect(files.get("opt/here/sub/link")).toMatchObject({ type: "symlink", target: "../file" });
  expect(files.get("opt/here/dangling")).toMatchObject({ type: "symlink", target: "/nowhere" });
  expect(files.get("opt/here/fifo")).toMatchObject({ type: "fifo" });
  const out = join(folder, "out");
  mkdirSync(out);
  execFileSync("cpio", ["-idm", "--quiet"], { cwd: out, input: archive });
  expect(readFileSync(join(out, "opt/here/sub/link"), "utf8")).toBe("one");
});

test("the guest's path is the host's, or what is asked for; one that ends in / gets the name added", () => {
  const file = join(folder, "tree/file");
  const paths = (guestPath?: string): string[] =>
    [...contents(hostFileArchive([{ hostPath: file, ...(guestPath === undefined ? {} : { guestPath }) }])).values()]
      .filter(({ type }) => type === "file")
      .map(({ path }) => path);
  expect(paths()).toEqual([file.slice(1)]);
  expect(paths("/a/b/../name")).toEqual(["a/name"]);
  expect(paths("/a/")).toEqual(["a/file"]);
  expect(paths("/")).toEqual(["file"]);
  const root = contents(hostFileArchive([{ hostPath: join(folder, "alias"), guestPath: "/" }]));
  expect(text(root.get("sub/größe"))).toBe("two");
});

test("folders above get this machine's modes, and a later file replaces an earlier one", () => {
  const [one, two] = [join(folder, "tree/file"), join(folder, "tree/sub/größe")];
  const files = contents(
    hostFileArchive([
      { hostPath: one, guestPath: "/tmp/new/x" },
      { hostPath: two, guestPath: "/tmp/new/x" },
    ]),
  );
  expect(files.get("tmp")?.mode).toBe(0o1777);
  expect(files.get("tmp/new")?.mode).toBe(0o755);
  expect(text(files.get("tmp/new/x"))).toBe("two");
});

test("folders that are links in the initrd, packed or not, are followed instead of replaced", () => {
  const base: readonly ArchiveEntry[] = [
    { path: "usr/lib", type: "directory", mode: 0o755 },
    { path: "lib", type: "symlink", mode: 0o777, target: "usr/lib" },
    { path: "lib64", type: "symlink", mode: 0o777, target: "/lib/64" },
  ];
  const packed = execFileSync("gzip", ["-c"], { input: writeCpio(base) });
  for (const initrd of [writeCpio(base), joinArchives([writeCpio([]), packed])]) {
    const added = hostFileArchive([{ hostPath: join(folder, "tree/file"), guestPath: "/lib64/a" }], { initrd });
    expect([...contents(added).keys()]).toEqual(["usr", "usr/lib", "usr/lib/64", "usr/lib/64/a"]);
  }
});

const program = "/usr/bin/env";
test.skipIf(!existsSync(program))("a dynamic program brings its linker and libraries along", () => {
  const files = contents(hostFileArchive([{ hostPath: program }]));
  // ldd asks the real dynamic linker.
  const wanted = [...execFileSync("ldd", [program], { encoding: "utf8" }).matchAll(/(\/\S+) \(0x/g)].map((m) => m[1]!);
  expect(wanted.length).toBeGreaterThan(1);
  for (const path of wanted) expect(Buffer.compare(files.get(path.slice(1))!.data!, readFileSync(path)), path).toBe(0);
  expect(contents(hostFileArchive([{ hostPath: program }], { libraries: false })).has(wanted[0]!.slice(1))).toBe(false);
});

test("a library is found through $ORIGIN, and goes to where the program will look for it", () => {
  const place = join(folder, "origin");
  mkdirSync(join(place, "lib"), { recursive: true });
  execFileSync("gcc", ["-shared", "-o", join(place, "lib/libmine.so"), "-xc", "-"], {
    input: "int mine(void){return 3;}",
  });
  const link = ["-L", join(place, "lib"), "-lmine", "-Wl,-rpath,$ORIGIN/lib"];
  execFileSync("gcc", ["-o", join(place, "main"), "-xc", "-", ...link], {
    input: "int mine(void); int main(void){return mine();}",
  });
  const missing: string[] = [];
  const add = () =>
    contents(
      hostFileArchive([{ hostPath: join(place, "main"), guestPath: "/opt/app/main" }], {
        onMissing: (library, needer) => missing.push(`${needer}: ${library}`),
      }),
    );
  expect(add().has("opt/app/lib/libmine.so")).toBe(true);
  expect(missing).toEqual([]);
  rmSync(join(place, "lib/libmine.so"));
  add();
  expect(missing).toEqual([`${join(place, "main")}: libmine.so`]);
});

test("what can't be read or placed is named", () => {
  const attempt = (hostPath: string, guestPath?: string): string => {
    try {
      hostFileArchive([{ hostPath, ...(guestPath === undefined ? {} : { guestPath }) }]);
      return "";
    } catch (error) {
      return isParavirtError(error) ? `${error.code}: ${error.message}` : String(error);
    }
  };
  expect(attempt(join(folder, "no"))).toMatch(/^BAD_ARGUMENT: .*\/no can't be put into the initramfs: ENOENT/);
  expect(attempt(join(folder, "tree"), "x")).toBe('BAD_ARGUMENT: the guest path "x" is not absolute');
  const files = [
    { hostPath: join(folder, "tree/file"), guestPath: "/a" },
    { hostPath: join(folder, "tree/file"), guestPath: "/a/b" },
  ];
  expect(() => hostFileArchive(files)).toThrow("/a/b can't be in the guest: /a is a file there");
});
