import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { buildDebianImage } from "./debian-image.ts";

// Making an image and booting it is in packages/paravirt's tests.

test.each([
  [{ size: 1000 }, "a disk of 1000 bytes; 268435456 (256 MiB) to"],
  [{ size: 256 * 1024 * 1024 + 1 }, "in steps of 4096"],
  [{ packages: ["less; rm -rf /"] }, '"less; rm -rf /" is no package'],
  [{ packages: ["--help"] }, '"--help" is no package'],
  [{ suite: "../etc" }, '"../etc" is no Debian release'],
  [{ hostname: "a.b c" }, '"a.b c" is no host name'],
])("%j is refused before anything is done", async (options, message) => {
  await expect(buildDebianImage("/nowhere/x", options)).rejects.toThrow(message);
});

test("programs that are missing are named, with the packages that have them", async () => {
  const folder = mkdtempSync(join(tmpdir(), "paravirt-path-"));
  const { PATH } = process.env;
  try {
    symlinkSync("/bin/sh", join(folder, "sh"));
    process.env.PATH = folder;
    await expect(buildDebianImage(join(folder, "x"))).rejects.toThrow(
      /mmdebstrap.* missing: .*apt-get install mmdebstrap/,
    );
  } finally {
    process.env.PATH = PATH;
    rmSync(folder, { recursive: true });
  }
});

test("a folder that can't be written to is named before minutes of work", async () => {
  await expect(buildDebianImage("/nowhere/x")).rejects.toThrow(/no image can be made in \/nowhere: ENOENT/);
});

test("without root, fakechroot or a range of user ids is asked for", async () => {
  const folder = mkdtempSync(join(tmpdir(), "paravirt-path-"));
  const { PATH } = process.env;
  const root = vi.spyOn(process, "getuid").mockReturnValue(65534);
  try {
    for (const name of ["mmdebstrap", "mke2fs", "tar", "fakeroot"]) symlinkSync("/bin/true", join(folder, name));
    symlinkSync("/bin/sh", join(folder, "sh"));
    process.env.PATH = folder;
    const made = buildDebianImage(join(folder, "x"));
    await expect(made).rejects.toThrow(/fakechroot \("apt-get install fakechroot"\), or newuidmap/);
  } finally {
    root.mockRestore();
    process.env.PATH = PATH;
    rmSync(folder, { recursive: true });
  }
});
