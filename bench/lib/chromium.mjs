// Machines in a page of Chromium: a server on the loopback interface, a browser of its own for each run.
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { installPackages } from "./debian.mjs";
import { COMMAND_LINES, MEMORY, v86Files } from "./engines.mjs";
import { cpuSeconds, createRecorder, PATIENCE, peakMemory } from "./measure.mjs";

const PROGRAM = "/usr/bin/chromium";
const ARGUMENTS = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-extensions"],
  // A page that nobody looks at must not be slowed down.
  ...["--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--mute-audio", "--no-first-run"],
];
const PAGES = new URL("../browser/", import.meta.url).pathname;

/** The engine paravirt in a web worker. */
export function paravirtInChromium({ guest }) {
  const missing = chromiumMissing();
  if (missing !== undefined) return { missing };
  const run = ({ initrd, kernel, ...rest }) =>
    runPage({
      ...rest,
      page: "paravirt-page",
      scripts: ["paravirt-worker", "paravirt-page"],
      files: { kernel: kernel ?? join(guest.folder, "vmlinux"), ...(initrd === undefined ? {} : { initrd }) },
      append: COMMAND_LINES.paravirt,
    });
  return { bits: 64, run, takesAnyKernel: true };
}

/** The engine v86 in a page. */
export function v86InChromium() {
  const files = v86Files();
  const missing = chromiumMissing() ?? files.missing;
  if (missing !== undefined) return { missing };
  const { kernel, bios, vgaBios, busybox } = files;
  const file = (name) => new URL(name, import.meta.resolve("v86")).pathname;
  const v86 = { "v86.wasm": file("v86.wasm"), "libv86.mjs": file("libv86.mjs") };
  const run = ({ initrd, ...rest }) =>
    runPage({
      ...rest,
      page: "v86-page",
      scripts: ["v86-page"],
      files: { kernel, initrd, bios, vgabios: vgaBios, ...v86 },
      append: COMMAND_LINES.pc,
    });
  return { bits: 32, busybox, run };
}

function chromiumMissing() {
  const missing = existsSync(PROGRAM) ? undefined : installPackages(["chromium"]);
  return missing ?? (existsSync(PROGRAM) ? undefined : `${PROGRAM} is not there`);
}

/** Runs one machine in a page; answers as `runMachine` does, with the processor time of the renderer processes. */
async function runPage({ page: pageName, scripts, files, append, label, total }) {
  const bundles = await bundle(scripts);
  const server = await serve({ files, bundles, pageName });
  const browser = await chromium.launch({ executablePath: PROGRAM, args: ARGUMENTS, headless: true });
  let page;
  let renderers = [];
  const recorder = createRecorder({
    usage: () => renderers.reduce((sum, pid) => sum + cpuSeconds(pid), 0),
    memory: () => Math.max(...renderers.map(peakMemory)),
    // A page that has been closed meanwhile needs no answer.
    go: () => page.evaluate(() => window.send("\n")).catch(() => {}),
    label,
    total,
  });
  const { result } = recorder;
  try {
    page = await browser.newPage();
    await new Promise((resolve, reject) => {
      let timer;
      const end = (failure) => {
        clearTimeout(timer);
        if (failure !== undefined) result.failure ??= failure;
        resolve();
      };
      const wait = () => {
        clearTimeout(timer);
        timer = setTimeout(() => end(`nothing happened for ${PATIENCE} s in ${result.last}`), PATIENCE * 1000);
      };
      page.on("crash", () => end(`the page crashed in ${result.last}`));
      page.on("pageerror", (error) => end(`${error.message} in ${result.last}`));
      const begin = async () => {
        await page.exposeFunction("report", ({ text, ended }) => {
          wait();
          if (text !== undefined) recorder.read(text);
          if (result.done) end();
          else if (ended !== undefined) end(`${ended.split("\n")[0]} in ${result.last}`);
        });
        await page.goto(`http://127.0.0.1:${server.address().port}/`);
        renderers = await rendererProcesses(browser);
        wait();
        const settings = { memory: MEMORY, append, initrd: files.initrd !== undefined };
        await page.evaluate((given) => window.start(given), settings);
      };
      begin().catch(reject);
    });
  } finally {
    await browser.close();
    server.close();
    server.closeAllConnections();
  }
  return result;
}

/** Process ids of all renderers; the one with the page is among them, the others do nothing. */
async function rendererProcesses(browser) {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  return processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id);
}

async function bundle(scripts) {
  const result = await build({
    entryPoints: scripts.map((name) => join(PAGES, `${name}.mjs`)),
    bundle: true,
    format: "esm",
    platform: "browser",
    outdir: "/",
    write: false,
    logLevel: "error",
    // Served as it is: bundled, its questions whether this is Node.js get wrong answers.
    external: ["v86"],
  });
  return Object.fromEntries(result.outputFiles.map(({ path, contents }) => [path.slice(1), contents]));
}

function serve({ files, bundles, pageName }) {
  const html = `<!doctype html><title>bench</title>
    <script type="importmap">{ "imports": { "v86": "/libv86.mjs" } }</script>
    <script type="module" src="/${pageName}.js"></script>`;
  const server = createServer((request, response) => {
    const name = request.url.slice(1).split("?")[0];
    // Isolation makes clocks in the page exact.
    const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
    const answer = (type, body) => response.writeHead(200, { ...headers, "Content-Type": type }).end(body);
    if (name === "") answer("text/html", html);
    else if (bundles[name] !== undefined) answer("text/javascript", bundles[name]);
    else if (files[name] !== undefined) answer(typeOf(name), readFileSync(files[name]));
    else response.writeHead(404, headers).end();
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

function typeOf(name) {
  if (name.endsWith(".wasm")) return "application/wasm";
  return name.endsWith(".mjs") ? "text/javascript" : "application/octet-stream";
}
