import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isParavirtError } from "@paravirt/core";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { debianKernelPackage, debianPackage } from "../test/debian.ts";
import { commandArchive } from "./command-protocol.ts";
import { type ArchiveEntry, readCpio, writeCpio } from "./cpio.ts";
import { readAr, readDeb } from "./deb.ts";
import { buildInitramfs, guestCommandLine, joinArchives } from "./initramfs.ts";
import {
  moduleDependencies,
  moduleName,
  parseModulesDep,
  readModuleInfo,
  resolveModules,
  unpackModule,
} from "./kernel-modules.ts";
import { readTar } from "./tar.ts";
import { utf8Decode, utf8Encode } from "./text.ts";

let folder: string;
const longName = `${"d".repeat(60)}/${"e".repeat(90)}/${"f".repeat(80)}`;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "paravirt-archives-"));
  const tree = join(folder, "tree");
  mkdirSync(join(tree, longName), { recursive: true });
  writeFileSync(join(tree, "hello"), "Hello\n");
  writeFileSync(join(tree, longName, "deep"), "deep");
  writeFileSync(join(tree, "größe"), "ü");
  chmodSync(join(tree, "hello"), 0o4755);
  linkSync(join(tree, "hello"), join(tree, "same"));
  symlinkSync("../x y", join(tree, "link"));
  symlinkSync(`/${longName}`, join(tree, "longlink"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const typed = (attempt: () => unknown): void => {
  try {
    attempt();
  } catch (error) {
    if (!isParavirtError(error)) throw error;
  }
};

test("cpio unpacks what we write: files, modes, links, folders", () => {
  const entries: readonly ArchiveEntry[] = [
    { path: "a", type: "directory", mode: 0o755 },
    { path: "a/file", type: "file", mode: 0o640, data: Buffer.from("contents") },
    { path: "a/empty", type: "file", mode: 0o600, data: new Uint8Array(0) },
    { path: "a/link", type: "symlink", mode: 0o777, target: "file" },
  ];
  const out = join(folder, "out");
  mkdirSync(out);
  const archive = writeCpio(entries);
  execFileSync("cpio", ["-idm", "--quiet"], { cwd: out, input: archive });
  expect(readFileSync(join(out, "a/file"), "utf8")).toBe("contents");
  expect(readlinkSync(join(out, "a/link"))).toBe("file");
  expect(readdirSync(join(out, "a")).sort()).toEqual(["empty", "file", "link"]);
  expect(archive.length % 512).toBe(0);
  expect(readCpio(archive)).toEqual(entries.map((e) => (e.data ? { ...e, data: Uint8Array.from(e.data) } : e)));
});

test("we read what cpio writes", () => {
  const list = execFileSync("find", [".", "-depth"], { cwd: join(folder, "tree") });
  const archive = execFileSync("cpio", ["-o", "-H", "newc", "--quiet"], { cwd: join(folder, "tree"), input: list });
  const entries = readCpio(archive);
  expect(entries.find((e) => e.path === "link")?.target).toBe("../x y");
  expect(entries.find((e) => e.path === "hello")?.mode).toBe(0o4755);
  expect(utf8Decode(entries.find((e) => e.path.endsWith("deep"))!.data!)).toBe("deep");
});

test("reading a cpio archive gives back what was written, several in a row too", () => {
  const name = fc.stringMatching(/^[a-z0-9/ü_.-]{1,40}$/).filter((path) => path !== "TRAILER!!!");
  const entry = fc.oneof(
    fc.record({ path: name, type: fc.constant("file" as const), mode: fc.nat(0o7777), data: fc.uint8Array() }),
    fc.record({ path: name, type: fc.constant("symlink" as const), mode: fc.constant(0o777), target: name }),
    fc.record({
      path: name,
      type: fc.constant("character" as const),
      mode: fc.nat(0o777),
      device: fc.tuple(fc.nat(255), fc.nat(255)),
    }),
  );
  fc.assert(
    fc.property(fc.array(entry), fc.array(entry), (one, two) => {
      expect(readCpio(joinArchives([writeCpio(one), writeCpio(two)]))).toEqual([...one, ...two]);
    }),
  );
});

test.each(["--format=gnu", "--format=ustar", "--format=posix"])("we read what tar %s writes", (format) => {
  const made = spawnSync("tar", ["-c", format, "-C", join(folder, "tree"), "."], { maxBuffer: 1 << 26 });
  const entries = [...readTar([made.stdout])];
  const byPath = new Map(entries.map((e) => [e.path, e]));
  expect(byPath.get("link")).toMatchObject({ type: "symlink", target: "../x y" });
  const hello = [byPath.get("hello")!, byPath.get("same")!];
  expect(hello.map((e) => e.type).sort()).toEqual(["file", "hardlink"]);
  const file = hello.find((e) => e.type === "file")!;
  expect([utf8Decode(file.data!), file.mode]).toEqual(["Hello\n", 0o4755]);
  expect(hello.find((e) => e.type === "hardlink")!.target).toBe(file.path);
  expect(utf8Decode(byPath.get("größe")!.data!)).toBe("ü");
  // ustar can't hold the longest names; the other two must.
  if (format !== "--format=ustar") {
    expect(utf8Decode(byPath.get(`${longName}/deep`)!.data!)).toBe("deep");
    expect(byPath.get("longlink")!.target).toBe(`/${longName}`);
  }
});

test("a tar archive reads the same however it is cut into pieces", () => {
  const made = execFileSync("tar", ["-c", "-C", join(folder, "tree"), "."]);
  const whole = [...readTar([made])];
  fc.assert(
    fc.property(fc.array(fc.nat(3000)), (cuts) => {
      const pieces: Uint8Array[] = [];
      let at = 0;
      for (const cut of cuts) {
        pieces.push(made.subarray(at, at + cut));
        at += cut;
      }
      pieces.push(made.subarray(at));
      expect([...readTar(pieces)].map((e) => [e.path, e.data?.length])).toEqual(
        whole.map((e) => [e.path, e.data?.length]),
      );
    }),
    { numRuns: 30 },
  );
});

test.each(["gzip", "xz", "zstd", "none"])(
  "a package that dpkg-deb packed with %s reads as dpkg-deb reads it",
  (tool) => {
    const tree = join(folder, `package-${tool}`);
    mkdirSync(join(tree, "DEBIAN"), { recursive: true });
    mkdirSync(join(tree, "usr/bin"), { recursive: true });
    writeFileSync(
      join(tree, "DEBIAN/control"),
      "Package: tried\nVersion: 1:2-3\nArchitecture: all\nMaintainer: n <n@example.org>\nDescription: one\n two\n",
    );
    writeFileSync(join(tree, "usr/bin/tried"), "#!/bin/sh\n");
    const path = join(folder, `${tool}.deb`);
    const built = spawnSync("dpkg-deb", ["--root-owner-group", `-Z${tool}`, "-b", tree, path], { encoding: "utf8" });
    expect(built.stderr).toBe("");
    const deb = readDeb(readFileSync(path));
    expect(Object.fromEntries(deb.control)).toMatchObject({
      Package: "tried",
      Version: "1:2-3",
      Description: "one\ntwo",
    });
    const file = [...deb.files()].find((e) => e.path === "usr/bin/tried")!;
    expect(utf8Decode(file.data!)).toBe("#!/bin/sh\n");
  },
);

test("cut and damaged archives end in a typed error or in other entries", () => {
  const deb = readFileSync(debianPackage("busybox-static")).subarray(0, 100_000);
  const cpio = writeCpio([{ path: "a/file", type: "file", mode: 0o640, data: new Uint8Array(100) }]);
  const tar = execFileSync("tar", ["-c", "-C", join(folder, "tree"), "."]);
  typed(() => [...readDeb(deb).files()]);
  expect(() => readAr(deb)).toThrow(/truncated ar archive: it needs/);
  expect(() => readCpio(cpio.subarray(0, 150))).toThrow(/truncated/);
  fc.assert(
    fc.property(fc.constantFrom(cpio, tar.subarray(0, 4096)), fc.nat(4095), fc.nat(255), (archive, at, value) => {
      const damaged = Uint8Array.from(archive);
      damaged[at % damaged.length] = value;
      typed(() => readCpio(damaged));
      typed(() => [...readTar([damaged])]);
      typed(() => readAr(damaged));
    }),
  );
});

test("Debian's modules say what they need, packed or not", () => {
  const found = new Map<string, Uint8Array>();
  for (const entry of readDeb(readFileSync(debianKernelPackage())).files()) {
    const wanted = /\/(xen-blkfront|aesni-intel|crypto_simd|cryptd)\.ko$/.test(entry.path);
    if (wanted) found.set(moduleName(entry.path), entry.data!.slice());
    if (found.size === 4) break;
  }
  const blkfront = found.get("xen_blkfront")!;
  expect(moduleDependencies(blkfront)).toEqual([]);
  expect(readModuleInfo(blkfront).get("alias")).toContain("xen:vbd");
  const packed = execFileSync("xz", ["-c", "--check=crc32"], { input: blkfront });
  expect(Buffer.compare(unpackModule(packed), blkfront)).toBe(0);
  expect(moduleDependencies(packed)).toEqual([]);
  const needs = (name: string): readonly string[] | undefined => {
    const module = found.get(name);
    return module === undefined ? undefined : moduleDependencies(module);
  };
  expect(resolveModules(["aesni-intel"], needs)).toEqual(["cryptd", "crypto_simd", "aesni_intel"]);
});

test("modules come after what they need, and a missing one is named with who needs it", () => {
  const deps = parseModulesDep(
    "kernel/a.ko: kernel/b-x.ko.xz kernel/c.ko\nkernel/b-x.ko.xz: kernel/c.ko\nkernel/c.ko:\n",
  );
  expect(resolveModules(["a"], (name) => deps.get(name))).toEqual(["c", "b_x", "a"]);
  expect(resolveModules(["b-x"], (name) => deps.get(name), new Set(["c"]))).toEqual(["b_x"]);
  const missing = new Map([["a", ["z"]]]);
  expect(() => resolveModules(["a"], (name) => missing.get(name))).toThrow(
    /module z, needed by a, isn't in the package/,
  );
  const loop = new Map([
    ["a", ["b"]],
    ["b", ["a"]],
  ]);
  expect(() => resolveModules(["a"], (name) => loop.get(name))).toThrow(/depends on itself/);
});

test("the initramfs holds busybox unchanged, /init, a console and the modules in order", () => {
  const busybox = Buffer.from("\x7fELFbusybox");
  const modules = [
    { name: "kernel/x/two.ko", data: Buffer.from("2") },
    { name: "one-b", data: Buffer.from("1"), parameters: "a=1 b=2" },
  ];
  const archive = buildInitramfs({ busybox, modules });
  expect(Buffer.compare(archive, buildInitramfs({ busybox, modules }))).toBe(0);
  const entries = new Map(readCpio(joinArchives([archive, commandArchive(["true"])])).map((e) => [e.path, e]));
  expect(Buffer.compare(entries.get("bin/busybox")!.data!, busybox)).toBe(0);
  expect(entries.get("dev/console")).toMatchObject({ type: "character", device: [5, 1] });
  expect(entries.get("init")!.mode).toBe(0o755);
  expect(utf8Decode(entries.get("paravirt/modules.order")!.data!)).toBe("two.ko\none_b.ko a=1 b=2\n");
  expect(utf8Decode(entries.get("paravirt/command")!.data!)).toBe("exec 'true'\n");
  expect(() => buildInitramfs({ busybox: new Uint8Array(4) })).toThrow(/busybox is no ELF file/);
});

test("the command line never lets kernel messages into a command's output", () => {
  expect(guestCommandLine({ mode: "command", messages: true })).toBe(
    "console=hvc0 quiet loglevel=0 mitigations=off paravirt.mode=command",
  );
  expect(
    guestCommandLine({ mode: "shell", messages: true, rows: 24, columns: 80, term: "xterm; x", append: "debug" }),
  ).toBe("console=hvc0 mitigations=off paravirt.mode=shell paravirt.rows=24 paravirt.columns=80 debug");
});

test("the command line tells /init of roots, shared folders and networks", () => {
  const line = guestCommandLine({
    mode: "command",
    root: "auto",
    shares: [{ tag: "src" }, { tag: "docs-1.2_x", readOnly: true }],
    networks: ["dhcp", "eth1:192.168.7.2/24,192.168.7.1"],
  });
  expect(line.split(" ").filter((word) => word.startsWith("paravirt."))).toEqual([
    "paravirt.mode=command",
    "paravirt.root=auto",
    "paravirt.share=src",
    "paravirt.share=docs-1.2_x,ro",
    "paravirt.net=dhcp",
    "paravirt.net=eth1:192.168.7.2/24,192.168.7.1",
  ]);
  expect(guestCommandLine({ mode: "agent", root: "none" })).not.toContain("paravirt.root");
});

test.each([
  [{ root: "/dev/xvda;reboot" }, "is no root"],
  [{ root: "/dev/../x" }, "is no root"],
  [{ shares: [{ tag: "a b" }] }, "is no tag"],
  [{ shares: [{ tag: ".." }] }, "is no tag"],
  [{ shares: [{ tag: "" }] }, "is no tag"],
  [{ shares: [{ tag: "$(reboot)" }] }, "is no tag"],
  [{ networks: ["dhcp quiet"] }, "is no network"],
  [{ networks: ["eth0:1.2.3.4"] }, "is no network"],
])("what a shell or the kernel would read otherwise is refused: %j", (options, message) => {
  expect(() => guestCommandLine({ mode: "shell", ...options })).toThrow(message);
});

test("the generated scripts are shell, and every module has its place in the order", () => {
  const busybox = readFileSync("/bin/true");
  const entries = readCpio(buildInitramfs({ busybox, modules: [] }));
  for (const name of ["init", "paravirt/session", "paravirt/setup", "paravirt/dhcp"]) {
    const { data } = entries.find(({ path }) => path === name)!;
    expect(spawnSync("sh", ["-n"], { input: data!, encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
  }
});

test("UTF-8 goes there and back as the host's own coder has it", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(Buffer.compare(utf8Encode(text), new TextEncoder().encode(text))).toBe(0);
      expect(utf8Decode(utf8Encode(text))).toBe(new TextDecoder("utf-8", { ignoreBOM: true }).decode(utf8Encode(text)));
    }),
  );
  fc.assert(fc.property(fc.uint8Array(), (bytes) => typeof utf8Decode(bytes) === "string"));
});
