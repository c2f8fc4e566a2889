import { Comparer, type Disagreement } from "./compare.ts";
import { generateProgram } from "./generate.ts";
import { generateNoise } from "./noise.ts";
import { listing, type Program } from "./program.ts";
import { shrink } from "./shrink.ts";

/** Programs after which machines are made anew. */
const BATCH = 50;

/** One program of this many is noise instead of what a programmer might write. */
const NOISE_EVERY = 10;

/** The program of a seed. */
export function programOf(seed: number): Program {
  return seed % NOISE_EVERY === 0 ? { ...generateNoise(seed / NOISE_EVERY), seed } : generateProgram(seed);
}

/** What {@link runAgreement} is asked. */
export interface AgreementOptions {
  /** Seed of the first program; the others have those that follow. */
  readonly seed: number;
  /** How many programs. */
  readonly count: number;
}

/** What became of a run: numbers, and the first disagreement as text. */
export interface AgreementReport {
  readonly programs: number;
  readonly instructions: number;
  readonly translated: number;
  /** The shrunk case with how to repeat it; `undefined` when all agreed. */
  readonly failure: string | undefined;
}

/** Executes programs in all styles until one disagrees or all are done. */
export function runAgreement(options: AgreementOptions): AgreementReport {
  let comparer = new Comparer();
  let [instructions, translated] = [0, 0];
  const finish = () => {
    instructions += comparer.instructions;
    translated += comparer.translated;
  };
  for (let index = 0; index < options.count; index++) {
    if (index > 0 && index % BATCH === 0) {
      finish();
      comparer = new Comparer();
    }
    const program = programOf(options.seed + index);
    const disagreement = comparer.compare(program);
    if (disagreement === undefined) continue;
    finish();
    const first = index - (index % BATCH);
    const failure = describe(program, disagreement, options.seed + first, index - first + 1);
    return { programs: index + 1, instructions, translated, failure };
  }
  finish();
  return { programs: options.count, instructions, translated, failure: undefined };
}

function describe(program: Program, disagreement: Disagreement, firstSeed: number, count: number): string {
  const again = new Comparer().compare(program);
  if (again === undefined)
    return [
      `The program of seed ${program.seed} disagrees only after those before it (${disagreement.style}):`,
      ...disagreement.differences,
      `Repeat with: npm run agreement -- --seed ${firstSeed} --count ${count}`,
      listing(program),
    ].join("\n");
  const small = shrink({ program, disagreement: again }, new Comparer());
  return [
    `The program of seed ${program.seed} disagrees (${small.disagreement.style}):`,
    ...small.disagreement.differences,
    `Repeat with: npm run agreement -- --seed ${program.seed} --count 1`,
    `Shrunk from ${program.lines.length} to ${small.program.lines.length} lines:`,
    listing(small.program),
  ].join("\n");
}
