import { decode, Instruction } from "@paravirt/x86";
import { CODE_PAGES, HOST_CALL, PLACES, SLOT_BYTES, SLOTS } from "./places.ts";
import type { Line, Program } from "./program.ts";
import { Random } from "./random.ts";

/** How bytes of code are made up, from nothing but chance to what a compiler might give. */
export const NOISES = ["bytes", "opcodes", "instructions", "branches"] as const;
/** One of {@link NOISES}. */
export type Noise = (typeof NOISES)[number];

const BRANCHES = [0x70, 0x74, 0x75, 0x7c, 0xeb, 0xe2, 0xe3];
const instruction = new Instruction();

/** Some bytes of `noise`: one instruction in most cases. */
export function noiseBytes(noise: Noise, r: Random): number[] {
  if (noise === "branches" && r.chance(50)) {
    if (r.chance(20))
      return [
        0x0f,
        0x80 + r.below(16),
        r.below(256),
        r.chance(50) ? 0 : 0xff,
        ...(r.chance(50) ? [0, 0] : [0xff, 0xff]),
      ];
    if (r.chance(20))
      return r.pick([[0xc3], [0xe8, r.below(200), 0, 0, 0], [0xff, 0xe0 + r.below(8)], [0xff, 0xd0 + r.below(8)]]);
    return [r.pick(BRANCHES), r.below(256)];
  }
  const bytes = Array.from({ length: 15 }, () => r.below(256));
  if (noise !== "bytes") {
    // An opcode of a map at random, often with a prefix: chance alone rarely gets beyond the first map.
    const prefix = r.pick([[], [], [], [0x66], [0xf2], [0xf3], [0x48], [0x44], [0x67], [0xf0]]);
    const map = r.pick([[], [], [0x0f], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]]);
    bytes.splice(0, prefix.length + map.length, ...prefix, ...map);
  }
  const length = decode(Uint8Array.from(bytes), 0, 15, 64, instruction);
  if (length > 0) return bytes.slice(0, length);
  return noise === "instructions" || noise === "branches" ? noiseBytes(noise, r) : bytes.slice(0, 1 + r.below(8));
}

/** Fills `page` with noise. */
export function fillWithNoise(page: Uint8Array, noise: Noise, r: Random): void {
  for (let at = 0; at < page.length; ) {
    const bytes = noiseBytes(noise, r).slice(0, page.length - at);
    page.set(bytes, at);
    at += bytes.length;
  }
}

/** A program of noise in a loop; what goes astray comes back to the loop's end. */
export function generateNoise(seed: number): Program {
  const r = new Random(seed);
  const noise = NOISES[seed % NOISES.length]!;
  const lines: Line[] = [];
  const add = (text: string, section: Line["section"], pinned: boolean) => lines.push({ section, text, pinned });
  const piece = (section: Line["section"]) => add(`.byte ${noiseBytes(noise, r).join(", ")}`, section, false);
  const labels = (...names: string[]) => add(names.map((name) => `${name}:`).join("\n"), "main", true);
  add(`mov r15d, ${20 + r.below(60)}`, "main", false);
  labels("again");
  for (let count = 0, patch = 0; count < 10 + r.below(60); count++) {
    if (patch < 4 && r.chance(10)) labels(`patch${patch++}`);
    piece("main");
    if (count % 8 === 0) labels(`block${count}`);
  }
  labels("next");
  add(`dec r15d\njnz again\nint ${HOST_CALL.end}`, "main", true);
  labels("handler");
  add("iretq", "main", true);
  labels("writer", "spin");
  add("int3", "main", true);
  for (let leaf = 0; leaf < 3; leaf++) {
    labels(`leaf${leaf}`);
    piece("main");
    add("ret", "main", true);
  }
  for (let slot = 0; slot < SLOTS; slot++) {
    add(`.org ${PLACES.code32 + slot * SLOT_BYTES}`, "code32", true);
    for (let count = 0; count < 6; count++) piece("code32");
  }
  return { seed, lines, offset: r.below((CODE_PAGES / 2) * 4096) };
}
