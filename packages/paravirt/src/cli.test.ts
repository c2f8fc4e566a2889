import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { miniGuest } from "@paravirt/vmm";
import { afterAll, expect, test } from "vitest";

// Real processes on the built packages: `npm test` builds them first.
const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "paravirt-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const run = (args: string[], input = "") =>
  spawnSync(process.execPath, [CLI, ...args], { encoding: "utf8", input, timeout: 100_000 });
const file = (name: string, bytes: Uint8Array | string): string => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};

test("run mini boots, reads xenstore, takes a timer event and powers off with status 0", () => {
  const { status, stdout, stderr } = run(["run", "mini", "--name", "tiny"]);
  expect(stdout).toContain("name = tiny");
  expect(stdout).toContain("timer: event");
  expect([status, stderr]).toEqual([0, ""]);
});

test("the console can go to a file, or nowhere, and counters to another file", () => {
  const console = join(folder, "console.txt");
  const stats = join(folder, "stats.json");
  expect(run(["run", "mini", "--console", `file:${console}`, "--stats", stats])).toMatchObject({
    status: 0,
    stdout: "",
  });
  expect(readFileSync(console, "utf8")).toContain("timer: event");
  const counters = JSON.parse(readFileSync(stats, "utf8"));
  expect(counters.instructions).toBeGreaterThan(100);
  expect(counters.hypercalls.sched_op.calls).toBeGreaterThan(0);
  for (const name of [
    "cpuSeconds",
    "faults",
    "tlbFills",
    "blocksTranslated",
    "peakMemory",
    "firstInstructionMs",
    "initOutputMs",
  ])
    expect(counters).toHaveProperty(name);
  expect(run(["run", "mini", "--console", "none"])).toMatchObject({ status: 0, stdout: "" });
});

test("a guest that asks for a reboot ends with 3, one that crashes with 4 and its registers and hypercalls", () => {
  const reboot = run(["run", "--kernel", file("reboot", miniGuest({ ending: "reboot" })), "--memory", "16"]);
  expect(reboot.status).toBe(3);
  const crash = run(["run", "--kernel", file("crash", miniGuest({ ending: "crash" })), "--memory", "16"]);
  expect(crash.status).toBe(4);
  expect(crash.stderr).toMatch(/rip [0-9a-f]{16}/);
  expect(crash.stderr).toMatch(/last \d+ hypercalls:/);
  expect(crash.stderr).toContain("sched_op");
});

test("a guest that doesn't end is ended by --timeout, with status 5", () => {
  const { status, stderr } = run([
    "run",
    "--kernel",
    file("spin", miniGuest({ ending: "spin" })),
    "--memory",
    "16",
    "--timeout",
    "1.5",
  ]);
  expect([status, stderr]).toEqual([5, "paravirt: the guest still ran after 1.5 s\n"]);
});

test.each([
  [
    "a missing image",
    ["run", "--kernel", "/nowhere/vmlinuz"],
    /\/nowhere\/vmlinuz can't be read: no such file or directory/,
  ],
  ["an empty image", ["run", "--kernel", "EMPTY"], /an empty file is no kernel/],
  ["text instead of an image", ["run", "--kernel", "TEXT"], /neither an ELF file nor a bzImage/],
  ["a truncated image", ["run", "--kernel", "TRUNCATED"], /./],
  ["a program that is no Xen kernel", ["run", "--kernel", "/bin/true"], /[Xx]en|note/],
  [
    "an initrd too big for the memory",
    ["run", "--kernel", "MINI", "--initrd", "BIG", "--memory", "8"],
    /initrd of 9000000 bytes.*8 MiB/,
  ],
  ["memory over the limit", ["run", "mini", "--memory", "99999"], /--memory 99999: 1 to 3792 MiB/],
  ["too many processors", ["run", "mini", "--vcpus", "33"], /--vcpus 33: 1 to 32/],
  ["a folder instead of an image", ["inspect", "/tmp"], /\/tmp can't be read: not a file/],
  ["counters into a folder", ["run", "mini", "--stats", "/tmp"], /--stats \/tmp can't be written: a folder/],
  ["counters into nowhere", ["run", "mini", "--stats", "/nowhere/x"], /--stats \/nowhere\/x can't be written: no such/],
  ["memory that is no number", ["run", "mini", "--memory", "lots"], /--memory lots/],
  ["a wrong console", ["run", "mini", "--console", "tty"], /--console tty: stdio, file:PATH or none/],
  ["a wrong reboot action", ["run", "mini", "--on-reboot", "restart"], /--on-reboot restart: only exit is supported/],
  ["no guest", ["run"], /run needs a guest/],
  ["a wrong option", ["run", "mini", "--memroy", "3"], /did you mean --memory\?/],
  ["no command for Debian", ["run", "debian", "--"], /needs a command after/],
])("%s: one clear line, status 2", (_what, args, message) => {
  const files: Record<string, () => string> = {
    EMPTY: () => file("empty", ""),
    TEXT: () => file("text", "#!/bin/sh\necho hello, this is not a kernel at all\n"),
    TRUNCATED: () => file("truncated", miniGuest().subarray(0, 200)),
    MINI: () => file("mini", miniGuest()),
    BIG: () => file("big", new Uint8Array(9_000_000)),
  };
  const { status, stdout, stderr } = run(args.map((word) => files[word]?.() ?? word));
  expect(status).toBe(2);
  expect(stdout).toBe("");
  expect(stderr).toMatch(message);
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
});

test("disasm --hex answers each line with length, mnemonic and operands", () => {
  const { stdout, status } = run(["disasm", "--hex"], "4889d8\n0f0b\n\n06\nf3 48 ab\n8b 84 8b 10 00 00 00\n");
  expect(stdout.split("\n")).toEqual([
    "3\tmov\trax, rbx",
    "2\tud2\t",
    "0\t(bad)",
    "3\trep stosq\tqword ptr [rdi]",
    "7\tmov\teax, dword ptr [rbx+rcx*4+0x10]",
    "",
  ]);
  expect(status).toBe(0);
  expect(run(["disasm", "--hex"], "zz\n")).toMatchObject({ status: 2, stderr: 'paravirt: "zz" is not bytes in hex\n' });
  expect(run(["disasm", "--hex", "--mode", "32"], "06\n").stdout).toBe("1\tpush\tes\n");
});

test("disasm --hex answers a line before the next one comes", async () => {
  const child = spawn(process.execPath, [CLI, "disasm", "--hex"], { stdio: ["pipe", "pipe", "inherit"] });
  const answer = (): Promise<string> =>
    new Promise((resolve) => child.stdout.once("data", (data) => resolve(String(data))));
  child.stdin.write("4889d8\n");
  expect(await answer()).toBe("3\tmov\trax, rbx\n");
  child.stdin.end("06");
  expect(await answer()).toBe("0\t(bad)\n");
});

test("disasm lists a file in both syntaxes", () => {
  const code = file("code", Uint8Array.of(0x48, 0x89, 0xd8, 0xeb, 0xfb));
  expect(run(["disasm", "--at", "0x1000", code]).stdout).toMatch(
    /00001000 {2}4889d8 +mov rax, rbx\n00001003 {2}ebfb +jmp 0x1000\n/,
  );
  expect(run(["disasm", "--syntax", "att", code]).stdout).toContain("mov");
});

test("inspect tells a Xen kernel from others", () => {
  const report = JSON.parse(run(["inspect", "--json", file("guest", miniGuest())]).stdout);
  expect(report).toMatchObject({ format: "elf", bits: 64, boot: { pv64: { possible: true } } });
  expect(run(["inspect", "/bin/true"]).stdout).toContain("format: elf");
});

test("--help works everywhere", () => {
  for (const words of [[], ["run"], ["run", "debian"], ["run", "mini"], ["disasm"], ["inspect"]]) {
    const { status, stdout } = run([...words, "--help"]);
    expect(status).toBe(0);
    expect(stdout).toContain("usage: paravirt");
  }
});

test("SIGTERM ends the guest with 143", async () => {
  const child = spawn(process.execPath, [
    CLI,
    "run",
    "--kernel",
    file("spin2", miniGuest({ ending: "spin" })),
    "--memory",
    "16",
    "--timeout",
    "20",
  ]);
  child.stdout.once("data", () => child.kill("SIGTERM"));
  expect(await new Promise((resolve) => child.on("close", (code, signal) => resolve([code, signal])))).toEqual([
    143,
    null,
  ]);
});

test("a reader that goes away ends the program quietly", () => {
  const code = file("long", new Uint8Array(1_000_000).fill(0x90));
  const { status, stderr } = spawnSync(
    "bash",
    ["-c", 'set -o pipefail; "$0" "$1" disasm "$2" | head -c 1', process.execPath, CLI, code],
    { encoding: "utf8" },
  );
  expect([status, stderr]).toEqual([141, ""]);
});
