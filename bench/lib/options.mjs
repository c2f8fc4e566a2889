// Options of the benchmark commands.
import { parseArgs } from "node:util";
import { BOOTS, ROWS } from "./rows.mjs";

/** Ends the process with status 2 and one line on standard error. */
export function refuse(message) {
  console.error(message);
  process.exit(2);
}

/** Reads the options of a benchmark command; anything wrong ends the process with status 2. */
export function benchOptions({ command, engines, help }) {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        json: { type: "string" },
        only: { type: "string" },
        scale: { type: "string", default: "100" },
        engines: { type: "string" },
        reps: { type: "string" },
        help: { type: "boolean" },
      },
    }));
  } catch (error) {
    refuse(`${command}: ${error.message}`);
  }
  if (values.help) {
    console.log(`usage: npm run ${command} -- [options]

${help}

  --only A,B      these rows only; rows: ${[...ROWS, ...BOOTS].join(" ")}
  --engines X,Y   these engines only: ${engines.join(", ")}; native runs always
  --scale N       percent of the usual work, 1 to 1000 (100)
  --reps N        how often each row runs in one boot (by its length; the median counts)
  --json FILE     write the numbers to FILE`);
    process.exit(0);
  }
  const names = chosen(values.only, [...ROWS, ...BOOTS], "row", command);
  return {
    json: values.json,
    rows: names.filter((name) => ROWS.includes(name)),
    boots: names.filter((name) => BOOTS.includes(name)),
    engines: chosen(values.engines, engines, "engine", command),
    scale: whole(values.scale, 1, 1000, "--scale", command),
    reps: values.reps === undefined ? undefined : whole(values.reps, 1, 100, "--reps", command),
  };
}

/**
 * Reads the options of a benchmark of a device; anything wrong ends the process with status 2. `extra` adds options as
 * `parseArgs` takes them, with a line of `help` each.
 */
export function deviceBenchOptions({ command, about, rows, engines, extra = {} }) {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        json: { type: "string" },
        only: { type: "string" },
        engines: { type: "string" },
        scale: { type: "string", default: "100" },
        reps: { type: "string", default: "3" },
        help: { type: "boolean" },
        ...extra,
      },
    }));
  } catch (error) {
    refuse(`${command}: ${error.message}`);
  }
  if (values.help) {
    const more = Object.values(extra).map(({ help }) => `\n${help}`);
    console.log(`usage: npm run ${command} -- [options]

${about}

  --only A,B      these rows only; rows: ${rows.join(" ")}
  --engines X,Y   these engines only: ${engines.join(", ")}
  --scale N       percent of the usual amounts, 1 to 1000 (100)
  --reps N        how often each row runs, 1 to 20; the median counts (3)
  --json FILE     write the numbers to FILE${more.join("")}`);
    process.exit(0);
  }
  return {
    ...values,
    rows: chosen(values.only, rows, "row", command),
    engines: chosen(values.engines, engines, "engine", command),
    scale: whole(values.scale, 1, 1000, "--scale", command),
    reps: whole(values.reps, 1, 20, "--reps", command),
  };
}

function chosen(text, known, what, command) {
  if (text === undefined) return known;
  const names = text.split(",").filter((name) => name !== "");
  for (const name of names) {
    if (!known.includes(name)) refuse(`${command}: no ${what} "${name}"; there are ${known.join(", ")}`);
  }
  if (names.length === 0) refuse(`${command}: an empty list of ${what}s`);
  return known.filter((name) => names.includes(name));
}

/** The whole number that `text` is; one outside the limits ends the process with status 2. */
export function whole(text, least, most, option, command) {
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || value < least || value > most) {
    refuse(`${command}: ${option} takes a whole number from ${least} to ${most}, not ${text}`);
  }
  return value;
}
