import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defaultCacheFolder } from "@paravirt/host-node";
import { expect, test } from "vitest";

// The real thing: Debian's kernel and busybox, through the built command line.
const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;
const run = (args: string[], input?: string | Uint8Array) =>
  spawnSync(process.execPath, [CLI, "run", "debian", ...args], {
    input: input ?? "",
    timeout: 110_000,
    maxBuffer: 1 << 26,
  });

test("a command's output and status come through, and nothing else", () => {
  const { status, stdout, stderr } = run([
    "--",
    "sh",
    "-c",
    "uname -a; cat /proc/cpuinfo; dmesg | grep -i xen; echo oops >&2; exit 7",
  ]);
  const out = stdout.toString();
  expect(out).toMatch(/^Linux \S+ 6\.1\.\S+ .*x86_64 GNU\/Linux\n/);
  expect(out).toContain("processor\t: 0");
  expect(out).toContain("Hypervisor detected: Xen PV");
  expect(out).toContain("Xen version: 4.17");
  expect(stderr.toString()).toBe("oops\n");
  expect(status).toBe(7);
});

test("--cpu chooses what the guest's kernel sees of the processor, and it uses XSAVE where it is there", () => {
  const flags = (...options: string[]) => {
    const { stdout } = run([...options, "--", "sh", "-c", "grep -m1 flags /proc/cpuinfo; dmesg | grep x86/fpu"]);
    return stdout.toString();
  };
  const all = flags();
  for (const name of [
    "cx16",
    "sse4_2",
    "popcnt",
    "bmi2",
    "adx",
    "aes",
    "sha_ni",
    "rdrand",
    "rdtscp",
    "rdpid",
    "xsavec",
  ])
    expect(all).toMatch(new RegExp(`flags.* ${name}( |$)`, "m"));
  expect(all).toContain("Enabled xstate features 0x3, context size is 576 bytes");
  const baseline = flags("--cpu", "x86-64-v1");
  expect(baseline).toContain(" sse2 ");
  for (const name of ["cx16", "pni", "ssse3", "popcnt", "lahf_lm", "xsave", "aes"])
    expect(baseline).not.toMatch(new RegExp(`flags.* ${name}( |$)`, "m"));
});

test("fifty checksums of busybox in the guest are the host's", () => {
  const { status, stdout } = run(["--", "sh", "-c", "for i in $(seq 50); do sha256sum /bin/busybox; done | sort -u"]);
  const cache = defaultCacheFolder();
  const guest = readdirSync(cache, { withFileTypes: true }).find(
    (entry) => entry.isDirectory() && entry.name.startsWith("debian-"),
  )!;
  const sum = createHash("sha256")
    .update(readFileSync(join(cache, guest.name, "busybox")))
    .digest("hex");
  expect(stdout.toString()).toBe(`${sum}  /bin/busybox\n`);
  expect(status).toBe(0);
});

test("arguments and standard input arrive byte for byte", () => {
  const bytes = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7) & 255);
  const { status, stdout } = run(["--", "sh", "-c", 'printf "%s|" "$@"; cat', "x", "a b", "", "'\"$\n"], bytes);
  expect(stdout.toString("latin1")).toBe(`a b||'"$\n|${Buffer.from(bytes).toString("latin1")}`);
  expect(status).toBe(0);
});

test("without a terminal and a command, lines go to a shell, and the guest powers off at their end with status 0", () => {
  const { status, stdout } = run([], "echo one\nfalse\necho two\n");
  expect(stdout.toString()).toBe("one\ntwo\n");
  expect(status).toBe(0);
});

test("the guest's own poweroff ends with 0, its reboot with 3, a panic with 4", () => {
  expect(run(["--", "poweroff", "-f"]).status).toBe(0);
  expect(run(["--vcpus", "2", "--", "sh", "-c", "nproc; reboot -f; sleep 9"]).status).toBe(3);
  const panic = run(["--", "sh", "-c", "echo c > /proc/sysrq-trigger; sleep 9"]);
  expect(panic.status).toBe(4);
  expect(panic.stderr.toString()).toContain("crashed");
});
