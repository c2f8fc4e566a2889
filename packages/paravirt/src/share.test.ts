import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseShare, shareRequests } from "./devices/shares.ts";

// Debian's kernel with folders of this machine, through the built command line. One boot does all that it can.
const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;
const CHECK = new URL("../test/share-check.c", import.meta.url).pathname;
const top = mkdtempSync(join(tmpdir(), "paravirt-share-"));
const main = join(top, "main");
const fixed = join(top, "two words");
const third = join(top, "third");
const contents = randomBytes(3_000_001);

/** What each part of the guest's script printed, on both streams. */
let parts: ReadonlyMap<string, string>;
let status: number | null;

const PARTS = {
  programs: "cd /mnt/main; ./share-check here",
  tree: `cd /mnt/main
    cp -a tree copy
    stat -c '%a %h' copy/a/big tree/hard
    tar cf packed.tar tree
    mkdir out && tar xf packed.tar -C out && mv out/tree unpacked && rmdir out
    dd if=tree/a/big of=dd bs=10007 conv=fsync 2>/dev/null
    dd if=tree/a/big of=dd2 bs=1M 2>/dev/null
    truncate -s 1000 dd2
    md5sum tree/a/big dd
    for i in 1 2 3; do echo $i >>appended; done
    touch -d '2001-02-03 04:05:06' appended
    chown 12:34 appended
    chmod 4711 appended
    (set -C; echo x >appended) 2>/dev/null || echo noclobber
    cat tree/out 2>/dev/null || echo 'nothing behind it'
    df . | tail -1 | awk '{print ($2 > 0), $6}'
    cp -a tree gone; rm -r gone; sync`,
  many: `cd /mnt/main/many
    ls | sort -n >../list; wc -l <../list; tail -1 ../list
    i=10000; while [ $i -lt 10300 ]; do : >$i; i=$((i + 1)); done
    rm 95*; ls | wc -l`,
  make: "cd /mnt/main/build; make && make && touch b.in && make -s && make -q && make test; echo $?",
  mounts: `ls /mnt; cat /mnt/two_words/f /mnt/3rd/f
    touch /mnt/3rd/new; touch /mnt/two_words/new 2>/dev/null || echo refused
    mount -o remount,rw /mnt/two_words; rm /mnt/two_words/f 2>/dev/null || echo still refused`,
};

beforeAll(() => {
  for (const folder of [main, fixed, third]) mkdirSync(folder);
  execFileSync("gcc", ["-O1", "-static", "-o", join(main, "share-check"), CHECK]);
  mkdirSync(join(main, "here"));
  mkdirSync(join(main, "tree/a/b"), { recursive: true });
  writeFileSync(join(main, "tree/a/big"), contents);
  writeFileSync(join(main, "tree/a/b/ü 漢\n"), "odd");
  writeFileSync(join(main, "tree/empty"), "");
  symlinkSync("a/big", join(main, "tree/link"));
  symlinkSync("/etc/shadow", join(main, "tree/out"));
  linkSync(join(main, "tree/empty"), join(main, "tree/hard"));
  chmodSync(join(main, "tree/a/big"), 0o751);
  mkdirSync(join(main, "many"));
  for (let index = 0; index < 10_000; index++) writeFileSync(join(main, `many/${index}`), "");
  mkdirSync(join(main, "build"));
  writeFileSync(join(main, "build/Makefile"), MAKEFILE);
  writeFileSync(join(main, "build/a.in"), "2\n1\n");
  writeFileSync(join(main, "build/b.in"), "4\n3\n");
  writeFileSync(join(fixed, "f"), "two\n");
  writeFileSync(join(third, "f"), "three\n");
  const script = Object.entries(PARTS).map(([name, text]) => `echo "=== ${name}"; (${text}) 2>&1`);
  const done = run(
    [
      ...["--share", main, "--share", `${fixed},ro`, "--share", `${third}:3rd`],
      ...["--initrd-add", "/usr/bin/make", "--workdir", "/"],
    ],
    script.join("\n"),
  );
  const texts = done.out.split(/^=== (.*)\n/m);
  parts = new Map(texts.flatMap((name, index) => (index % 2 === 1 ? [[name, texts[index + 1]!] as const] : [])));
  status = done.status;
}, 400_000);

afterAll(() => rmSync(top, { recursive: true, force: true }));

const MAKEFILE = `all: sum stamp
sum: a.out b.out
\tcat $^ >$@
%.out: %.in
\tsort $< >$@
stamp: sum
\ttouch $@
test: all
\tgrep -q 1 sum
\texit 3
`;

function run(options: readonly string[], script: string) {
  const done = spawnSync(process.execPath, [CLI, "run", "debian", ...options, "--", "sh", "-c", script], {
    input: "",
    timeout: 390_000,
    maxBuffer: 1 << 26,
  });
  return { status: done.status, out: done.stdout.toString(), errors: done.stderr.toString() };
}

test("what programs expect of files holds in a shared folder", () => {
  const lines = parts.get("programs")!.split("\n");
  expect(lines.filter((line) => !line.startsWith("ok "))).toEqual(["done", ""]);
  expect(lines.length).toBeGreaterThan(40);
  expect(status).toBe(0);
});

test("a tree that the host made is copied, packed, moved and removed, and both sides see the same bytes", () => {
  const md5 = createHash("md5").update(contents).digest("hex");
  expect(parts.get("tree")!.split("\n")).toEqual([
    "751 1",
    "644 2",
    `${md5}  tree/a/big`,
    `${md5}  dd`,
    "noclobber",
    "nothing behind it",
    "1 /mnt/main",
    "",
  ]);
  for (const copy of ["copy", "unpacked"])
    execFileSync("diff", ["-r", "--no-dereference", join(main, "tree"), join(main, copy)]);
  expect(readFileSync(join(main, "dd")).equals(contents)).toBe(true);
  expect(readFileSync(join(main, "dd2")).equals(contents.subarray(0, 1000))).toBe(true);
  expect(readlinkSync(join(main, "unpacked/out"))).toBe("/etc/shadow");
  expect(statSync(join(main, "unpacked/hard")).nlink).toBe(2);
  expect(readFileSync(join(main, "appended"), "utf8")).toBe("1\n2\n3\n");
  const { mtimeMs, uid, gid, mode } = statSync(join(main, "appended"));
  expect([mtimeMs, mode & 0o7777]).toEqual([Date.UTC(2001, 1, 3, 4, 5, 6), 0o4711]);
  if (process.getuid?.() === 0) expect([uid, gid]).toEqual([12, 34]);
  expect(existsSync(join(main, "gone"))).toBe(false);
});

test("a folder of ten thousand files is listed whole, and grows and shrinks", () => {
  expect(parts.get("many")).toBe("10000\n9999\n10189\n");
  const names = new Set(readdirSync(join(main, "many")));
  expect([names.size, names.has("10299"), names.has("9500"), names.has("9499")]).toEqual([10_189, true, false, true]);
});

test("make runs what is needed, once", () => {
  const lines = parts.get("make")!.split("\n");
  // A guest that started on a busy machine has a clock that is behind: ticks were lost before Linux had a better one.
  const said = lines.filter(
    (line) => !/^make: (\*\*\*|Warning: File .* in the future|warning: {2}Clock skew)/.test(line),
  );
  expect(said).toEqual([
    "sort a.in >a.out",
    "sort b.in >b.out",
    "cat a.out b.out >sum",
    "touch stamp",
    "make: Nothing to be done for 'all'.",
    "grep -q 1 sum",
    "exit 3",
    "2",
    "",
  ]);
  expect(readFileSync(join(main, "build/sum"), "utf8")).toBe("1\n2\n3\n4\n");
});

test("several folders are mounted, each by its tag; a read-only one can't be changed", () => {
  expect(parts.get("mounts")).toBe("3rd\nmain\ntwo_words\ntwo\nthree\nrefused\nstill refused\n");
  expect([readdirSync(fixed), readdirSync(third)]).toEqual([["f"], ["f", "new"]]);
});

test("a guest that is killed while it writes leaves what it had synced, and the folder usable", async () => {
  const folder = join(top, "killed");
  mkdirSync(folder);
  const guest = spawn(process.execPath, [
    ...[CLI, "run", "debian", "--share", folder, "--", "sh", "-c"],
    "dd if=/dev/zero bs=64k count=16 of=synced conv=fsync 2>/dev/null; echo go; while :; do cat synced >>more; done",
  ]);
  await new Promise((resolve) => guest.stdout.once("data", resolve));
  guest.kill("SIGKILL");
  await new Promise((resolve) => guest.once("exit", resolve));
  expect(readFileSync(join(folder, "synced")).equals(Buffer.alloc(1 << 20))).toBe(true);
});

test.each([
  ["/srv/data", { folder: "/srv/data", tag: "data", readOnly: false }],
  ["/srv/data/,ro", { folder: "/srv/data/", tag: "data", readOnly: true }],
  ["/srv/my data:d,ro", { folder: "/srv/my data", tag: "d", readOnly: true }],
  ["/srv/my dätä", { folder: "/srv/my dätä", tag: "my_d_t_", readOnly: false }],
  ["/a:b/c", { folder: "/a:b/c", tag: "c", readOnly: false }],
  ["/a:b:", undefined],
  ["/a:b:c", { folder: "/a:b", tag: "c", readOnly: false }],
  ["/", { folder: "/", tag: "share", readOnly: false }],
  [`/${"x".repeat(50)}`, { folder: `/${"x".repeat(50)}`, tag: "x".repeat(31), readOnly: false }],
  ["/a:..", undefined],
  [":tag", undefined],
  ["", undefined],
  ["/a:b c", undefined],
])("--share %s", (text, expected) => {
  if (expected === undefined) expect(() => parseShare(text)).toThrow(`--share ${text}: `);
  else expect(parseShare(text)).toEqual(expected);
});

test("two folders of one name need a tag", () => {
  const shares = (...values: string[]) => shareRequests({ lists: new Map([["share", values]]) });
  expect(() => shares("/a/x", "/b/x")).toThrow("--share /b/x: the tag x is taken; give another after a colon");
  expect(shares("/a/x", "/b/x:y").map(({ share }) => share)).toEqual([
    { tag: "x", readOnly: false },
    { tag: "y", readOnly: false },
  ]);
});

test("a folder that isn't there is said before anything starts", () => {
  const refused = run(["--share", join(top, "nothing")], "true");
  expect([refused.status, refused.errors]).toEqual([
    2,
    expect.stringMatching(/^paravirt: .*nothing can't be shared: ENOENT.*\n$/),
  ]);
});
