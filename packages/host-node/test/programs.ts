import { spawnSync } from "node:child_process";

/** Runs a program; answers its output, and throws with it unless its status is one of `allowed`. */
export function runProgram(words: readonly string[], allowed: readonly number[] = [0]): string {
  const [program, ...rest] = words;
  const result = spawnSync(program!, rest, { encoding: "utf8", timeout: 60_000 });
  const output = `${result.stdout}${result.stderr}`;
  if (result.error !== undefined || !allowed.includes(result.status ?? -1))
    throw new Error(`${words.join(" ")}: status ${result.status}: ${result.error?.message ?? output}`);
  return output;
}
