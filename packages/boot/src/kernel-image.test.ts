import { execFileSync } from "node:child_process";
import { isParavirtError } from "@paravirt/core";
import { ELFNOTE } from "@paravirt/xen-abi";
import fc from "fast-check";
import { expect, test } from "vitest";
import { debianKernel } from "../test/debian.ts";
import { makeKernel } from "../test/make-kernel.ts";
import { readBzImage } from "./bzimage.ts";
import { readElf } from "./elf.ts";
import { inspectImage } from "./inspect.ts";
import { readKernelImage } from "./kernel-image.ts";
import { checkPvBootable } from "./pv-check.ts";

test("readelf and we see the same segments and notes in Debian's kernel", () => {
  const { vmlinux } = debianKernel();
  const elf = readElf(vmlinux);
  const text = execFileSync("sh", ["-c", 'cat >"$0"; readelf -lnW "$0"; rm "$0"', "/tmp/paravirt-vmlinux"], {
    input: vmlinux,
    encoding: "utf8",
  });
  const segments = [...text.matchAll(/^ {2}LOAD +(\S+) (\S+) (\S+) (\S+) (\S+)/gm)].map((m) =>
    m.slice(1, 6).map(BigInt),
  );
  const ours = elf.segments.filter((s) => s.type === 1);
  expect(ours.map((s) => [BigInt(s.offset), s.vaddr, s.paddr, BigInt(s.fileSize), BigInt(s.memSize)])).toEqual(
    segments,
  );
  expect(elf.notes.length).toBe([...text.matchAll(/^ {2}(Xen|GNU|Linux) +0x/gm)].length);
});

test("inspect tells what Debian's bzImage is, in JSON", () => {
  const report = inspectImage(debianKernel().vmlinuz);
  expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  expect(report).toMatchObject({
    format: "bzimage",
    compression: "xz",
    bits: 64,
    machine: 62,
    noteSource: "elf-notes",
    features: { required: ["writable_page_tables"] },
    boot: { pv64: { possible: true }, pvh: { possible: false } },
  });
  expect(report.kernelVersion).toMatch(/^6\.1\./);
  expect(report.notes).toContainEqual({ name: "FEATURES", value: "!writable_page_tables|pae_pgdir_above_4gb" });
  expect(report.notes).toContainEqual({ name: "VIRT_BASE", value: "0xffffffff80000000" });
});

test("inspect says which note is missing", () => {
  const report = inspectImage(makeKernel({ omit: [ELFNOTE.XEN_VERSION] }));
  expect(report.boot.pv64).toEqual({
    possible: false,
    reason: 'not a kernel for this Xen: its XEN_VERSION note is missing, "xen-3.0" is needed',
  });
  expect(inspectImage(makeKernel({ omit: "all" })).boot.pv64.reason).toMatch(/no Xen ELF notes/);
});

test("a kernel packed as a whole is read too", () => {
  const packed = execFileSync("gzip", ["-c"], { input: makeKernel() });
  expect(readKernelImage(packed)).toMatchObject({ format: "compressed-elf", compression: "gzip" });
});

/** A bzImage of protocol 2.08 whose payload is `kernel` packed by a tool, with its size behind unless that is gzip. */
function makeBzImage(kernel: Uint8Array, command: readonly string[]): Uint8Array {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(kernel.length);
  const packed = execFileSync(command[0]!, command.slice(1), { input: kernel });
  const payload = command[0] === "gzip" ? packed : Buffer.concat([packed, size]);
  const file = Buffer.alloc(1024 + payload.length + 100);
  file[0x1f1] = 1;
  file.writeUInt16LE(0xaa55, 0x1fe);
  file.write("HdrS", 0x202, "latin1");
  file.writeUInt16LE(0x208, 0x206);
  file.writeUInt32LE(0, 0x248);
  file.writeUInt32LE(payload.length, 0x24c);
  file.set(payload, 1024);
  return file;
}

test.each([
  ["gzip", ["gzip", "-c"]],
  ["xz", ["xz", "-c", "--check=crc32", "--x86", "--lzma2"]],
  ["zstd", ["zstd", "-c", "-19"]],
  ["lz4", ["lz4", "-l", "-c", "-z"]],
  ["lzma", ["xz", "--format=lzma", "-c"]],
  ["bzip2", ["bzip2", "-c"]],
])("a bzImage with a %s payload is unpacked", (compression, command) => {
  const kernel = makeKernel();
  const image = readKernelImage(makeBzImage(kernel, command));
  expect(image).toMatchObject({ format: "bzimage", compression, xen: { guestOs: "Mini-OS" } });
  expect(Buffer.compare(image.elf.bytes, kernel)).toBe(0);
});

test.each<[string, () => Uint8Array, RegExp]>([
  ["an empty file", () => new Uint8Array(0), /empty file is no kernel/],
  ["a text", () => Buffer.from("#!/bin/sh\n"), /neither an ELF file nor a bzImage: it starts with 23 21/],
  [
    "half a bzImage",
    () => debianKernel().vmlinuz.subarray(0, 4_000_000),
    /truncated bzImage: its header needs 8\d+ bytes, the file has 4000000/,
  ],
  [
    "half an ELF file",
    () => debianKernel().vmlinux.subarray(0, 9_000_000),
    /of a file of 9000000: truncated or corrupt/,
  ],
  ["a damaged payload", () => flipped(debianKernel().vmlinuz, 3_000_000), /^corrupt (xz|LZMA) data: /],
  [
    "a payload of unknown kind",
    () => overwritten(debianKernel().vmlinuz),
    /payload of unknown compression: it starts with 00 00/,
  ],
  ["a header with another size", () => resized(debianKernel().vmlinuz), /unpacks to \d+ bytes, not the \d+/],
])("%s ends in one clear line", (_, make, message) => {
  expect(() => readKernelImage(make())).toThrow(message);
});

function flipped(image: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(image);
  copy[at]! ^= 0xff;
  return copy;
}
function overwritten(image: Uint8Array): Uint8Array {
  const { payloadOffset } = readBzImage(image);
  return Uint8Array.from(image).fill(0, payloadOffset, payloadOffset + 16);
}
function resized(image: Uint8Array): Uint8Array {
  const { payloadOffset, payloadLength } = readBzImage(image);
  return flipped(image, payloadOffset + payloadLength - 4);
}

test("a kernel damaged anywhere in its headers or notes never ends in anything but a typed error", () => {
  const kernel = makeKernel();
  fc.assert(
    fc.property(fc.nat(0x600), fc.nat(255), fc.nat(0x700), fc.nat(255), (at, value, at2, value2) => {
      const damaged = Uint8Array.from(kernel);
      damaged[at] = value;
      damaged[at2] = value2;
      try {
        checkPvBootable(readKernelImage(damaged));
        inspectImage(damaged);
      } catch (error) {
        if (!isParavirtError(error)) throw error;
        expect(error.message).toMatch(/^[^\n]+$/);
      }
    }),
    { numRuns: 2000 },
  );
});

test("a kernel that says it needs 4 PiB is refused before anything is counted out", () => {
  const kernel = makeKernel({ omit: [ELFNOTE.VIRT_BASE], entry: 0x10n });
  new DataView(kernel.buffer, kernel.byteOffset).setBigUint64(0x80 + 40, 1n << 52n, true);
  expect(() => checkPvBootable(readKernelImage(kernel))).toThrow(/past 1 TiB/);
});
