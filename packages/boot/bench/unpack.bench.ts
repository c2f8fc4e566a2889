import { execFileSync } from "node:child_process";
import { gunzipSync } from "node:zlib";
import { bench, describe } from "vitest";
import { bzImagePayload, planPvDomain, readBzImage, readKernelImage, unpack } from "../src/index.ts";
import { debianKernel } from "../test/debian.ts";

const LIMIT = 1 << 30;
const { vmlinuz, vmlinux } = debianKernel();
const header = readBzImage(vmlinuz);
const payload = bzImagePayload(vmlinuz, header);
const xz = payload.subarray(0, -4);
const pack = (...command: string[]): Uint8Array =>
  execFileSync(command[0]!, command.slice(1), { input: vmlinux, maxBuffer: LIMIT });
const gzip = pack("gzip", "-6", "-c");
const zstd = pack("zstd", "-12", "-c");
const lz4 = pack("lz4", "-l", "-c", "-z");
const once = { iterations: 5, warmupIterations: 1, time: 0, warmupTime: 0 };

describe("Debian's kernel, 65.9 MB unpacked", () => {
  bench(
    "xz with the x86 filter (the package's own payload)",
    () => void unpack(payload, { limit: LIMIT, sizeTrailer: true }),
    once,
  );
  bench("the same by the xz tool", () => void execFileSync("xz", ["-dc"], { input: xz, maxBuffer: LIMIT }), once);
  bench("gzip -6", () => void unpack(gzip, { limit: LIMIT }), once);
  bench("the same by Node's zlib", () => void gunzipSync(gzip), once);
  bench("zstd -12", () => void unpack(zstd, { limit: LIMIT }), once);
  bench("the same by the zstd tool", () => void execFileSync("zstd", ["-dc"], { input: zstd, maxBuffer: LIMIT }), once);
  bench("lz4", () => void unpack(lz4, { limit: LIMIT }), once);
  bench(
    "planning a domain of 256 MiB",
    () => {
      planPvDomain(readKernelImage(vmlinuz, { unpacked: vmlinux }), { pages: 65536 });
    },
    once,
  );
});
