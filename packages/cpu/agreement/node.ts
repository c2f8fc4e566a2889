// The runner as a program of its own for Node: `node bundle.mjs SEED COUNT` prints a report as JSON.
import { runAgreement } from "./runner.ts";

const [seed = 1, count = 100] = process.argv.slice(2).map(Number);
console.log(JSON.stringify({ version: `Node ${process.versions.node}`, ...runAgreement({ seed, count }) }));
