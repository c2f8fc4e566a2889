// `npm test`: installs what the tests need of Debian, builds the packages, runs all tests, and sums them up in one line.
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = new URL("..", import.meta.url);

function run(command, args, options = {}) {
  return spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
}

/** Debian packages that are named in debian-packages.txt and not installed. */
function missingPackages() {
  const wanted = readFileSync(new URL("scripts/debian-packages.txt", root), "utf8").split(/\s+/).filter(Boolean);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const answer = run("dpkg-query", ["-W", "-f", "${Package} ${db:Status-Status}\n", ...wanted], {
    stdio: "pipe",
    encoding: "utf8",
  });
  if (answer.error) return { wanted, missing: wanted, noDpkg: true };
  const installed = new Set(
    answer.stdout
      .split("\n")
      .filter((line) => line.endsWith(" installed"))
      .map((line) => line.split(" ")[0]),
  );
  return { wanted, missing: wanted.filter((name) => !installed.has(name)), noDpkg: false };
}

function installPackages() {
  const { missing, noDpkg } = missingPackages();
  if (missing.length === 0) return;
  const command = `apt-get install -y --no-install-recommends ${missing.join(" ")}`;
  if (noDpkg || process.getuid?.() !== 0) {
    console.error(`the tests need these Debian packages: ${missing.join(" ")}; as root: ${command}`);
    process.exit(2);
  }
  console.log(`installing ${missing.join(" ")}`);
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const install = () =>
    run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...missing], { env: environment });
  if (install().status === 0) return;
  // Package lists may be missing or old.
  run("apt-get", ["update", "-qq"], { env: environment });
  if (install().status !== 0) {
    console.error(`could not be installed: ${missing.join(" ")}`);
    process.exit(2);
  }
}

installPackages();
const build = run("npx", ["turbo", "run", "build:js", "--output-logs=errors-only"]);
if (build.status !== 0) process.exit(build.status ?? 1);

const report = join(tmpdir(), `paravirt-tests-${process.pid}.json`);
const tests = run("npx", [
  "vitest",
  "run",
  "--reporter=default",
  "--reporter=json",
  `--outputFile.json=${report}`,
  ...process.argv.slice(2),
]);
try {
  const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(report, "utf8"));
  console.log(
    `${numPassedTests} passed, ${numFailedTests} failed${numPendingTests > 0 ? `, ${numPendingTests} skipped` : ""}`,
  );
} catch (error) {
  console.error(`no test report: ${error.message}`);
}
rmSync(report, { force: true });
process.exit(tests.status ?? 1);
