import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBlkback } from "@paravirt/blkback";
import { commandArchive, createCommandDecoder, guestCommandLine, joinArchives } from "@paravirt/boot";
import { memoryDisk, rawDisk } from "@paravirt/disk";
import { debianGuest, GUEST_MODULES, openDiskFile, XEN_MODULES } from "@paravirt/host-node";
import { createMachine } from "@paravirt/vmm";
import { afterAll, beforeAll, expect, test } from "vitest";

const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;
const MIB = 1 << 20;

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "paravirt-disk-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sumOf = (bytes: Uint8Array): string => createHash("md5").update(bytes).digest("hex");

/** The first `length` bytes of a file, as they are now. */
function head(path: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const file = openSync(path, "r");
  readSync(file, bytes);
  closeSync(file);
  return bytes;
}

test("a guest's disks: data and flushes reach the file, file systems mount, disks come, go, and change their size", async () => {
  const guest = await debianGuest({ modules: [...XEN_MODULES, ...GUEST_MODULES.root] });
  const path = join(folder, "data.img");
  writeFileSync(path, "");
  truncateSync(path, 16 * MIB);
  const file = rawDisk(openDiskFile(path));
  let flushes = 0;
  const first = {
    ...file,
    get sectors() {
      return file.sectors;
    },
    flush() {
      flushes++;
      return file.flush();
    },
  };
  const system = memoryDisk({ sectors: (8 * MIB) / 512, sectorSize: 4096 });
  const discBytes = new Uint8Array(2 * MIB).map((_, at) => at * 7 + (at >> 9));
  const disc = memoryDisk({ sectors: discBytes.length / 512, content: discBytes });
  const script = `
    say() { echo "@ $*"; }
    head -c 4m /dev/urandom >/random
    dd if=/random of=/dev/xvda bs=60k conv=fsync 2>/dev/null
    say written $(md5sum </random)
    mke2fs -b 4096 /dev/xvdb >/dev/null 2>&1
    mkdir /system && mount -t ext4 /dev/xvdb /system && cp /random /system/file && umount /system
    mount -t ext4 -o ro /dev/xvdb /system
    say mounted $(md5sum </system/file) $(cat /sys/block/xvdb/queue/logical_block_size)
    umount /system
    say disc $(md5sum </dev/xvdc) $(cat /sys/block/xvdc/removable /sys/block/xvdc/ro)
    dd if=/dev/zero of=/dev/xvdc count=1 2>/dev/null || say disc-refuses
    blkdiscard=$(cat /sys/block/xvda/queue/discard_max_bytes)
    say resize $blkdiscard
    while [ $(cat /sys/block/xvda/size) = 32768 ]; do sleep 0.1; done
    say size $(cat /sys/block/xvda/size)
    dd if=/random of=/dev/xvda bs=1M seek=20 conv=fsync 2>/dev/null
    say unplug $(dd if=/dev/xvda bs=1M skip=20 count=4 2>/dev/null | md5sum)
    while [ -e /sys/block/xvdb ]; do sleep 0.1; done
    say gone
    while [ ! -b /dev/xvdd ]; do sleep 0.1; done
    say plugged $(md5sum </dev/xvdd)
    sleep 100`;
  const machine = createMachine({ memory: 264 });
  try {
    const domain = await machine.createDomain({
      kernel: guest.image,
      memory: 256,
      vcpus: 2,
      initrd: joinArchives([guest.initramfs, commandArchive(["sh", "-c", script])]),
      commandLine: guestCommandLine({ mode: "command" }),
      devices: [
        createBlkback({ disk: first, maxPersistentGrants: 64 }),
        createBlkback({ disk: system, name: "xvdb" }),
        createBlkback({ disk: disc, name: "xvdc", media: "cdrom" }),
      ],
    });
    let said = "";
    const decoder = createCommandDecoder({
      onStdout: (bytes) => {
        said += new TextDecoder().decode(bytes);
      },
      onStderr: (bytes) => {
        said += new TextDecoder().decode(bytes);
      },
    });
    void (async () => {
      for await (const bytes of domain.console.readable) decoder.push(bytes);
    })();
    /** The words after `@ word`, once the guest said them. */
    const heard = async (word: string): Promise<string[]> => {
      for (let turn = 0; turn < 900; turn++) {
        const match = new RegExp(`^@ ${word}\\b(.*)\\n`, "m").exec(said);
        if (match !== null) return match[1]!.split(/[\s-]+/).filter((one) => one !== "");
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      throw new Error(`the guest didn't say ${word}: ${said}`);
    };

    const [written] = await heard("written");
    expect(sumOf(head(path, 4 * MIB))).toBe(written);
    expect(flushes).toBeGreaterThan(0);
    expect(await heard("mounted")).toEqual([written, "4096"]);
    expect(await heard("disc")).toEqual([sumOf(discBytes), "1", "1"]);
    await heard("disc-refuses");
    await heard("resize");
    await file.resize((24 * MIB) / 512);
    expect(await heard("size")).toEqual(["49152"]);
    expect(await heard("unplug")).toEqual([written]);
    const attached = domain.devices.find(({ device }) => device.id === 51728)!;
    expect(await attached.detach({ timeout: 60_000 })).toBe(true);
    await heard("gone");
    await domain.attach(createBlkback({ disk: disc, name: "xvdd" }));
    expect(await heard("plugged")).toEqual([sumOf(discBytes)]);
    domain.destroy();
    await domain.shutdown;
    await machine.close();
    expect(machine.error).toBeUndefined();
  } finally {
    await machine.close();
    await file.close?.();
  }
  // What the guest made of the other disk is a file system for Debian's own tools too.
  const copy = join(folder, "system.img");
  const bytes = new Uint8Array(8 * MIB);
  await system.read(0, [bytes]);
  writeFileSync(copy, bytes);
  const check = spawnSync("e2fsck", ["-fn", copy], { encoding: "utf8" });
  expect(check.stdout).toMatch(/12\/\d+ files/);
  expect(check.status).toBe(0);
}, 480_000);

const ROUNDS = 20;

/** Writes one MiB in random order, each block with its checksum, and makes it durable. */
const fio = (round: number, more: string): string =>
  `fio --name=round --filename=/dev/xvda --offset=${round}m --size=1m --rw=randwrite --bs=4k --ioengine=psync ` +
  `--randseed=${round + 1} --verify=crc32c --output=/dev/null ${more}`;

/** Overwrites the sector of byte `at` of an image. */
function damage(image: string, format: string, at: number): void {
  const write = `write -P 0x5a ${at - (at % 512)} 512`;
  expect(spawnSync("qemu-io", ["-f", format, "-c", write, image]).status).toBe(0);
}

test.each(["raw", "qcow2"])(
  "a process that is killed in the middle of fio has lost nothing that the guest flushed: %s",
  async (format) => {
    const image = join(folder, `killed.${format}`);
    if (format === "raw") {
      writeFileSync(image, "");
      truncateSync(image, ROUNDS * MIB);
    } else expect(spawnSync("qemu-img", ["create", "-f", format, image, `${ROUNDS}M`]).status).toBe(0);
    const program = spawnSync("sh", ["-c", "command -v fio"], { encoding: "utf8" }).stdout.trim();
    const run = (script: string): ReturnType<typeof spawn> =>
      spawn(
        process.execPath,
        [
          ...[CLI, "run", "debian", "--root", "none", "--memory", "512", "--initrd-add", `${program}:/bin/fio`],
          ...["--disk", `${image},format=${format}`, "--", "sh", "-c", script],
        ],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
    const rounds = Array.from(
      { length: ROUNDS },
      (_, round) => `${fio(round, "--do_verify=0 --end_fsync=1")} && echo flushed ${round}`,
    );
    const writer = run(rounds.join("\n"));
    let said = "";
    let flushed = -1;
    await new Promise<void>((resolve) => {
      writer.stdout!.on("data", (bytes) => {
        said += bytes;
        flushed = Number([...said.matchAll(/^flushed (\d+)/gm)].at(-1)?.[1] ?? -1);
        // The next round is under way then.
        if (flushed >= 2) setTimeout(() => writer.kill("SIGKILL"), 150);
      });
      writer.on("close", () => resolve());
    });
    expect(writer.signalCode).toBe("SIGKILL");
    expect(flushed).toBeGreaterThanOrEqual(2);
    if (format === "qcow2") expect(spawnSync("qemu-img", ["check", "-r", "leaks", image]).status).toBe(0);
    // The check is worth something: a sector of the last round's last block is overwritten.
    damage(image, format, (flushed + 1) * MIB - 2048);
    const checks = Array.from(
      { length: flushed + 1 },
      (_, round) => `${fio(round, "--verify_only")} || echo lost ${round}`,
    );
    const reader = run(`${checks.join("\n")}\necho checked`);
    said = "";
    reader.stdout!.on("data", (bytes) => {
      said += bytes;
    });
    await new Promise((resolve) => reader.on("close", resolve));
    expect(said).toBe(`lost ${flushed}\nchecked\n`);
  },
  600_000,
);

test("disks on the command line: an overlay leaves its file alone, a read-only one refuses, names are kept", () => {
  const [a, b] = ["a.img", "b.img"].map((name) => join(folder, name)) as [string, string];
  for (const path of [a, b]) writeFileSync(path, new Uint8Array(MIB).fill(0x61));
  const run = spawnSync(
    process.execPath,
    [
      ...[
        CLI,
        "run",
        "debian",
        "--root",
        "none",
        "--disk",
        `${a},overlay`,
        "--disk",
        `${b},ro,dev=xvdq`,
        "--",
        "sh",
        "-c",
      ],
      `echo changed | dd of=/dev/xvda conv=notrunc,fsync 2>/dev/null; head -c 8 /dev/xvda
       cat /sys/block/xvdq/ro; head -c 3 /dev/xvdq; echo x | dd of=/dev/xvdq 2>/dev/null || echo " refused"`,
    ],
    { encoding: "utf8" },
  );
  expect(run.stdout).toBe("changed\n1\naaa refused\n");
  for (const path of [a, b]) expect(readFileSync(path).every((byte) => byte === 0x61)).toBe(true);
}, 120_000);
