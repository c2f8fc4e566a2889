// `npm run agreement`: random programs in all ways of execution, in Node, Node 24 and Chromium. Exits with 1 when they disagree.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const ENVIRONMENTS = ["node", "node24", "chromium"];
/** Programs that one call in a page executes. */
const PAGE_BATCH = 50;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const USAGE = `usage: npm run agreement -- [--count N] [--seed S] [--in ${ENVIRONMENTS.join(",")}]`;

function usage(problem) {
  console.error(`${problem}\n${USAGE}`);
  process.exit(2);
}

function wholeNumber(name, text) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** 31)
    usage(`--${name} ${text} is no whole number below 2^31`);
  return value;
}

function options() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        count: { type: "string" },
        seed: { type: "string" },
        in: { type: "string" },
        help: { type: "boolean" },
      },
    }));
  } catch (error) {
    usage(error.message);
  }
  if (values.help) {
    console.log(`${USAGE}
  --count  programs in each environment; 2000 when left out
  --seed   of the first program, the others follow; 1 when left out
  --in     where to run; all when left out`);
    process.exit(0);
  }
  const environments = values.in?.split(",") ?? ENVIRONMENTS;
  for (const name of environments) if (!ENVIRONMENTS.includes(name)) usage(`there is no environment "${name}"`);
  return {
    count: wholeNumber("count", values.count ?? "2000"),
    seed: wholeNumber("seed", values.seed ?? "1"),
    environments,
  };
}

const here = fileURLToPath(new URL(".", import.meta.url));
const work = mkdtempSync(join(tmpdir(), "paravirt-agreement-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));

async function bundle(entry, platform) {
  const outfile = join(work, platform === "node" ? "agreement.mjs" : "agreement.js");
  await build({
    entryPoints: [join(here, entry)],
    outfile,
    bundle: true,
    platform,
    format: platform === "node" ? "esm" : "iife",
    target: "es2022",
    conditions: ["@paravirt/source"],
    logLevel: "error",
  });
  return outfile;
}

/** Runs the bundle in a Node of its own. */
function inNode(program, script, { seed, count }) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [script, String(seed), String(count)], { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.on("data", (data) => {
      output += data;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(JSON.parse(output));
      else reject(new Error(`${program} ended with code ${code}`));
    });
  });
}

/** A Node 24 from npm, kept for the next time. */
function node24() {
  if (process.versions.node.startsWith("24.")) return process.execPath;
  const prefix = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "paravirt", "node24");
  const name = `node-${process.platform}-${process.arch}`;
  const program = join(prefix, "node_modules", name, "bin", "node");
  if (existsSync(program)) return program;
  mkdirSync(prefix, { recursive: true });
  const install = spawnSync(
    "npm",
    ["install", "--no-save", "--no-audit", "--no-fund", "--prefix", prefix, `${name}@24`],
    {
      encoding: "utf8",
    },
  );
  if (install.status === 0 && existsSync(program)) return program;
  throw new Error(`Node 24 could not be installed from npm (${name}@24 into ${prefix}):\n${install.stderr}`);
}

async function inChromium(script, { seed, count }) {
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  try {
    const sum = { programs: 0, instructions: 0, translated: 0, version: `Chromium ${browser.version()}` };
    while (sum.programs < count) {
      // A new page for each batch gives all memory back.
      const page = await browser.newPage();
      await page.addScriptTag({ path: script });
      const report = await page.evaluate((given) => globalThis.paravirtAgreement(given), {
        seed: seed + sum.programs,
        count: Math.min(PAGE_BATCH, count - sum.programs),
      });
      await page.close();
      sum.programs += report.programs;
      sum.instructions += report.instructions;
      sum.translated += report.translated;
      if (report.failure !== undefined) return { ...sum, failure: report.failure };
    }
    return sum;
  } finally {
    await browser.close();
  }
}

async function runIn(environment, given) {
  if (environment === "chromium") return inChromium(await bundle("browser.ts", "browser"), given);
  const program = environment === "node24" ? node24() : process.execPath;
  return inNode(program, await bundle("node.ts", "node"), given);
}

const given = options();
let failed = false;
for (const environment of given.environments) {
  const start = performance.now();
  try {
    const report = await runIn(environment, given);
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    console.log(
      `${report.version}: ${report.programs} programs, ${report.instructions} instructions, ${report.translated} regions translated, ` +
        `${report.failure === undefined ? "all ways of execution agree" : "DISAGREEMENT"}, ${seconds} s`,
    );
    if (report.failure !== undefined) {
      failed = true;
      console.log(`${report.failure}\n(in ${environment})`);
    }
  } catch (error) {
    failed = true;
    console.error(`${environment}: ${error.message}`);
  }
}
process.exit(failed ? 1 : 0);
