import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createDebianVm } from "./debian-vm.ts";

// A whole Debian: made from the machine's package sources, booted with systemd, judged by qemu-img and e2fsck.
const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "paravirt-image-"));
const image = join(folder, "root.qcow2");
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const MINUTES = 60_000;

/** Nothing may be wrong with the image, nor with the file system in it. */
function checkImage(): void {
  const check = spawnSync("qemu-img", ["check", image], { encoding: "utf8" });
  expect([check.status, check.stdout]).toEqual([0, expect.stringContaining("No errors were found")]);
  const raw = join(folder, "root.raw");
  expect(spawnSync("qemu-img", ["convert", "-O", "raw", image, raw]).status).toBe(0);
  const fsck = spawnSync("/sbin/e2fsck", ["-fn", raw], { encoding: "utf8" });
  expect([fsck.status, fsck.stdout]).toEqual([0, expect.not.stringContaining("WARNING")]);
}
const fileInImage = (path: string): string =>
  spawnSync("/sbin/debugfs", ["-R", `cat ${path}`, join(folder, "root.raw")], { encoding: "utf8" }).stdout;

/** The command line without a call that blocks: machines of this process would stand still. */
function run(...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    const text = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name].setEncoding("utf8").on("data", (part: string) => {
        text[name] += part;
      });
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, ...text }));
  });
}

test("image debian makes a sound qcow2 image with the packages that were asked for", {
  timeout: 10 * MINUTES,
}, async () => {
  const { status, stderr } = await run("image", "debian", "-o", image, "--packages", "make", "--size", "1g");
  expect([status, stderr]).toEqual([0, expect.stringContaining("making the file system")]);
  checkImage();
});

test("it boots with systemd to a login on the console, runs commands, and shuts down cleanly", {
  timeout: 10 * MINUTES,
}, async () => {
  let screen = "";
  const vm = await createDebianVm({
    memory: 384,
    disks: [image],
    systemd: true,
    onConsole: (bytes) => {
      screen += Buffer.from(bytes).toString("latin1");
    },
  });
  /** A login takes as long as it takes; the test's own limit ends the waiting. */
  const shows = async (what: RegExp): Promise<void> => {
    while (!what.test(screen) && vm.domain.running) await new Promise((resolve) => setTimeout(resolve, 100));
    expect(screen).toMatch(what);
  };
  const exec = async (...argv: string[]) => (await vm.exec(argv)).output();
  try {
    expect((await exec("systemctl", "is-system-running", "--wait")).stdout).toBe("running\n");
    expect((await exec("systemctl", "--failed", "--plain", "--no-legend")).stdout).toBe("");
    expect((await exec("systemctl", "is-active", "serial-getty@hvc0")).stdout).toBe("active\n");
    expect(screen).toContain("Debian GNU/Linux");
    await shows(/debian login: /);
    const typing = vm.domain.console.writable.getWriter();
    await typing.write(Buffer.from("root\n"));
    await shows(/root@debian:~# /);
    expect((await exec("sh", "-c", "echo written >/root/file && sha256sum </root/file")).status).toBe(0);
    expect(await vm.powerOff()).toMatchObject({ reason: "poweroff" });
  } finally {
    await vm.close();
  }
  checkImage();
  expect(fileInImage("/root/file")).toBe("written\n");
});

test("a command runs in the disk's root without systemd, and leaves the disk unmounted", {
  timeout: 5 * MINUTES,
}, async () => {
  const script = "cat /root/file; ls -l /proc/$$/exe; make --version | head -1; echo more >/root/more; exit 3";
  const { status, stdout, stderr } = await run("run", "debian", "--disk", image, "--", "sh", "-c", script);
  expect(stdout).toMatch(/^written\n.* -> \/usr\/bin\/dash\nGNU Make /);
  expect([status, stderr]).toEqual([3, ""]);
  checkImage();
  expect(fileInImage("/root/more")).toBe("more\n");
});

test("of a disk that is read-only the root is, too, and --root none leaves it alone", {
  timeout: 5 * MINUTES,
}, async () => {
  const readOnly = await run(
    "run",
    "debian",
    "--disk",
    `${image},ro`,
    "--",
    "sh",
    "-c",
    "cat /root/file; echo x >/root/x",
  );
  expect([readOnly.status, readOnly.stdout]).toEqual([2, "written\n"]);
  const none = await run("run", "debian", "--disk", image, "--root", "none", "--", "sh", "-c", "ls /; ls /dev/xvda");
  expect([none.status, none.stdout]).toEqual([0, expect.stringContaining("paravirt\n")]);
  expect(none.stdout).toContain("/dev/xvda\n");
});
