// `npm run bench:guest [-- OPTIONS]`: the programs of bench/guest in paravirt, in QEMU's TCG and in v86, against the same
// programs run natively: processor time of the whole machine process, side by side. README.md beside this says how.
import { paravirtEngine, tcgEngine, v86Engine } from "./lib/engines.mjs";
import { benchOptions } from "./lib/options.mjs";
import { runBenchmark } from "./lib/run.mjs";

const command = "bench:guest";
const options = benchOptions({
  command,
  engines: ["native", "paravirt", "tcg", "v86"],
  help: "runs the guest benchmarks in paravirt, QEMU's TCG and v86, and natively",
});
await runBenchmark({
  command,
  options,
  engines: { paravirt: paravirtEngine, tcg: tcgEngine, v86: v86Engine },
});
