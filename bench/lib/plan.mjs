// Which rows run how often: short ones more often, so that the median says something.
import { START } from "./rows.mjs";

/** Native processor seconds that a row's runs in one machine should come to. */
const WANTED = 0.3;
const MOST = 5;
/** Runs of the program whose cost is taken off. */
const STARTS = 7;

/**
 * Runs each row natively and answers `{ plan, often }`: the rows of one boot as [name, scale] in their order, and how
 * often each comes. Rounds go through all rows, so that a disturbance doesn't meet all runs of one row.
 */
export function makePlan({ native, rows, scale, reps }) {
  native.run(START, scale);
  const often = { [START]: STARTS };
  for (const name of rows) {
    const cpu = native.run(name, scale);
    often[name] = reps ?? Math.min(MOST, Math.max(1, Math.round(WANTED / Math.max(cpu, 0.001))));
  }
  const plan = [];
  for (let round = 0; round < Math.max(...Object.values(often)); round++) {
    for (const [name, count] of Object.entries(often)) if (round < count) plan.push([name, scale]);
  }
  const result = { plan, often };
  nativeRounds({ native, plan: result });
  return result;
}

/** Runs each row natively half as often as in a machine, but at least once. */
export function nativeRounds({ native, plan }) {
  for (const [name, count] of Object.entries(plan.often)) {
    const scale = plan.plan.find(([row]) => row === name)[1];
    for (let run = 0; run < Math.ceil(count / 2); run++) native.run(name, scale);
  }
}
