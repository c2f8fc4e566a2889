// Writes to a qcow2 image until it is killed, and tells what was flushed: each block holds the number of its last write,
// which count from one more than the second argument.
import { openQcow2 } from "@paravirt/disk";
import { diskCodecs } from "../src/disk-codecs.ts";
import { openDiskFile } from "../src/disk-file.ts";

const [path, before] = process.argv.slice(2);
const disk = await openQcow2(openDiskFile(path!), { codecs: diskCodecs });
const blocks = disk.sectors / 8;
let state = Number(before);
const random = (below: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return (state >>> 8) % below;
};
let number = Number(before);
for (;;) {
  const written: [number, number][] = [];
  for (let n = random(30); n >= 0; n--) {
    const count = 1 + random(40);
    const block = random(blocks - count);
    number++;
    const bytes = new Uint8Array(count * 4096);
    const words = new Uint32Array(bytes.buffer);
    for (let at = 0; at < count; at++) {
      words.fill(number, at * 1024, (at + 1) * 1024);
      written.push([block + at, number]);
    }
    // What is discarded is freed with the next flush, and what is written again lies elsewhere.
    if (random(8) === 0) await disk.discard!(block * 8, count * 8);
    await disk.write(block * 8, [bytes]);
  }
  process.stdout.write(`writing ${written.map((one) => one.join(":")).join(" ")}\n`);
  await disk.flush();
  process.stdout.write("flushed\n");
}
