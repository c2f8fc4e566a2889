// `npm run bench:browser [-- OPTIONS]`: what bench:guest does, with paravirt (in a web worker) and v86 (in a page) inside
// Chromium. The processor time is that of Chromium's renderer process with all its threads.
import { paravirtInChromium, v86InChromium } from "./lib/chromium.mjs";
import { benchOptions } from "./lib/options.mjs";
import { runBenchmark } from "./lib/run.mjs";

const command = "bench:browser";
const options = benchOptions({
  command,
  engines: ["native", "paravirt", "v86"],
  help: "runs the guest benchmarks in paravirt and v86 inside Chromium, and natively",
});
await runBenchmark({ command, options, engines: { paravirt: paravirtInChromium, v86: v86InChromium } });
