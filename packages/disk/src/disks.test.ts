import { CONTRACT_SECTORS, diskContract } from "../test/disk-contract.ts";
import { codecs, lastingFile, slowFile, withoutPunch } from "../test/files.ts";
import {
  type BlockFile,
  type CreateQcow2Options,
  createQcow2,
  memoryDisk,
  memoryFile,
  openQcow2,
  overlayDisk,
  rawDisk,
} from "./index.ts";

const size = CONTRACT_SECTORS * 512;

diskContract("memory", async () => ({ disk: memoryDisk({ sectors: CONTRACT_SECTORS }) }));

diskContract("memory with sectors of 4096 bytes", async () => ({
  disk: memoryDisk({ sectors: CONTRACT_SECTORS - (CONTRACT_SECTORS % 8), sectorSize: 4096 }),
}));

diskContract("a raw image", async () => {
  const file = lastingFile(memoryFile());
  await file.truncate(size);
  return { disk: rawDisk(file), reopen: async () => rawDisk(file) };
});

diskContract("a raw image on slow storage that can't punch holes", async () => {
  const file = slowFile(withoutPunch(memoryFile()));
  await file.truncate(size);
  return { disk: rawDisk(file), reopen: async () => rawDisk(file) };
});

diskContract("an overlay", async () => ({ disk: overlayDisk(memoryDisk({ sectors: CONTRACT_SECTORS })) }));

diskContract("an overlay on slow storage", async () => ({
  disk: overlayDisk(memoryDisk({ sectors: CONTRACT_SECTORS }), { store: slowFile(memoryFile()) }),
}));

function qcow2(
  name: string,
  options: Partial<CreateQcow2Options>,
  wrap: (file: BlockFile) => BlockFile = (file) => file,
) {
  diskContract(
    name,
    async () => {
      const file = wrap(lastingFile(memoryFile()));
      await createQcow2(file, { size, ...options });
      return { disk: await openQcow2(file), reopen: () => openQcow2(file) };
    },
    { runs: 4 },
  );
}

for (let bits = 9; bits <= 21; bits++) qcow2(`qcow2 with clusters of ${2 ** bits} bytes`, { clusterSize: 2 ** bits });
for (const refcountBits of [1, 2, 4, 8, 32, 64])
  qcow2(`qcow2 with refcounts of ${refcountBits} bits`, { clusterSize: 4096, refcountBits });
qcow2("qcow2 of version 2", { version: 2 });
qcow2("qcow2 on slow storage", { clusterSize: 4096 }, slowFile);

diskContract(
  "qcow2 over a backing file",
  async () => {
    const file = lastingFile(memoryFile());
    await createQcow2(file, { size, backing: { file: "base", format: "raw" } });
    // Shorter than the image, and not even.
    const openBacking = async () => memoryDisk({ sectors: 5001 });
    return { disk: await openQcow2(file, { openBacking }), reopen: () => openQcow2(file, { openBacking }) };
  },
  { runs: 4 },
);

diskContract(
  "qcow2 over compressed clusters",
  async () => {
    const file = lastingFile(memoryFile());
    await createQcow2(file, { size, clusterSize: 16384 });
    // Compressed zeros: there in the image, and zeros nevertheless.
    const filled = await openQcow2(file);
    const packed = await codecs.deflateRaw!(new Uint8Array(16384));
    for (let sector = 0; sector < CONTRACT_SECTORS; sector += 64) await filled.writeCompressed(sector, packed);
    await filled.close?.();
    return { disk: await openQcow2(file, { codecs }), reopen: () => openQcow2(file, { codecs }) };
  },
  { runs: 4 },
);
