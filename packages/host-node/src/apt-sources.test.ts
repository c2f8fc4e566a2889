import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { debianSources } from "./apt-sources.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "paravirt-sources-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Programs that answer as apt's do: URI, release, label and component a line. */
function programs(name: string, targets: string, settings = "") {
  const script = (file: string, text: string): string => {
    const path = join(folder, `${name}-${file}`);
    writeFileSync(path, `#!/bin/sh\ncat <<'END'\n${text}\nEND\n`);
    chmodSync(path, 0o755);
    return path;
  };
  return { get: script("get", targets), config: script("config", settings) };
}

const MACHINE = `http://mirror/debian/|trixie|Debian|main
http://mirror/debian/|trixie|Debian|contrib
http://mirror/debian/|trixie-updates|Debian|main
http://mirror/debian/|trixie-backports|Debian Backports|main
http://mirror/debian-security/|trixie-security|Debian-Security|main
http://elsewhere/apt/|stable|Some Product|main`;

test("Debian's own sources are taken, with their components, and nobody else's", async () => {
  const { suite, lines } = await debianSources({ sourcePrograms: programs("all", MACHINE) });
  expect(suite).toBe("trixie");
  expect(lines).toEqual([
    "deb http://mirror/debian/ trixie main contrib",
    "deb http://mirror/debian/ trixie-updates main",
    "deb http://mirror/debian-security/ trixie-security main",
  ]);
});

test("another release comes from the same mirrors, and a rolling one has no security archive", async () => {
  const sourcePrograms = programs("other", MACHINE);
  expect((await debianSources({ sourcePrograms, suite: "forky" })).lines).toEqual([
    "deb http://mirror/debian/ forky main contrib",
    "deb http://mirror/debian/ forky-updates main",
    "deb http://mirror/debian-security/ forky-security main",
  ]);
  expect((await debianSources({ sourcePrograms, suite: "sid" })).lines).toEqual([
    "deb http://mirror/debian/ sid main contrib",
  ]);
});

test("before lists were fetched, the address tells what is Debian's", async () => {
  const targets = "http://mirror/debian/|trixie|$(LABEL)|main\nhttp://elsewhere/apt/|stable|$(LABEL)|main";
  const { lines } = await debianSources({ sourcePrograms: programs("fresh", targets) });
  expect(lines).toEqual(["deb http://mirror/debian/ trixie main"]);
});

test("the machine's proxies come along, and no other setting", async () => {
  const settings = 'Acquire "";\nAcquire::http::Proxy "http://proxy:3128";\nAcquire::Retries "2";';
  const found = await debianSources({ sourcePrograms: programs("proxy", MACHINE, settings) });
  expect(found.settings).toEqual(['Acquire::http::Proxy "http://proxy:3128";']);
});

test("a machine without Debian sources, and one without apt, are told apart", async () => {
  const other = programs("none", "http://archive/ubuntu/|noble|Ubuntu|main");
  await expect(debianSources({ sourcePrograms: other })).rejects.toThrow("apt has no Debian sources");
  const missing = { get: join(folder, "nothing"), config: "true" };
  await expect(debianSources({ sourcePrograms: missing })).rejects.toThrow("is not on this machine");
});
