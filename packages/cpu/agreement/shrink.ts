import type { Comparer, Disagreement } from "./compare.ts";
import type { Line, Program } from "./program.ts";

/** A program and how its executions differ. */
export interface Case {
  readonly program: Program;
  readonly disagreement: Disagreement;
}

/**
 * Takes lines away while the executions still differ (delta debugging: halves first, then ever smaller pieces), trying at
 * most `attempts` programs.
 */
export function shrink(found: Case, comparer: Comparer, attempts = 600): Case {
  let best = found;
  let left = attempts;
  const removable = () => best.program.lines.filter((line) => !line.pinned);
  for (let size = Math.ceil(removable().length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let progress = true; progress && left > 0; ) {
      progress = false;
      for (let start = 0; start < removable().length && left > 0; ) {
        const without = new Set<Line>(removable().slice(start, start + size));
        const candidate = tryWithout(best.program, without, comparer);
        left--;
        if (candidate === undefined) start += size;
        else {
          best = candidate;
          progress = true;
        }
      }
      if (size > 1) break;
    }
  }
  return withoutFrame(best, comparer);
}

/** Takes away labels, ends and functions, too, one by one, where that still gives a program. */
function withoutFrame(found: Case, comparer: Comparer): Case {
  let best = found;
  for (const line of [...found.program.lines].reverse())
    best = tryWithout(best.program, new Set([line]), comparer) ?? best;
  return best;
}

function tryWithout(program: Program, without: ReadonlySet<Line>, comparer: Comparer): Case | undefined {
  const smaller = { ...program, lines: program.lines.filter((line) => !without.has(line)) };
  try {
    const disagreement = comparer.compare(smaller);
    return disagreement && { program: smaller, disagreement };
  } catch {
    // What doesn't assemble any more is no smaller case.
    return undefined;
  }
}
