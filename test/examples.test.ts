import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";

/** Runs an example on the built packages, as a user does. */
const run = (name: string): string =>
  execFileSync(process.execPath, [`examples/${name}.mjs`], { encoding: "utf8", timeout: 60_000 });

test("decode-function tells what instructions read and write", () => {
  expect(run("decode-function")).toContain("401002  add rax, qword ptr [rdi]");
});

test("bare-function calls functions, and reports those that go wrong", () => {
  const text = run("bare-function");
  expect(text).toContain("gcd(1071, 462): return 21");
  expect(text).toContain("sum: 2499975000, ");
  expect(text).toContain("fault 14 at 0xdead0000");
  expect(text.trimEnd().endsWith("limit")).toBe(true);
});

test("flat-binary has ports, memory on demand and an instruction of its own", () => {
  const text = run("flat-binary");
  expect(text).toContain("page fault at 0x200000: mapped\nSensor says: 20 21 22 23 \nstopped after ");
});

test("xenstore shows values and watch events", () => {
  const text = run("xenstore");
  expect(text).toContain("changed: /local/domain/7/memory/target");
  expect(text).toContain("\nweb\n");
  expect(text.trimEnd().endsWith("undefined")).toBe(true);
});

test("custom-vmm runs the mini guest to its end", () => {
  const text = run("custom-vmm");
  expect(text).toContain("mini guest: hello from ring 3 of xen-3.0-x86_64\nframe list: good\nname = own\n");
  expect(text).toContain("timer: event\npowered off\n");
});

test("two-domains shows one crash and one good end", () => {
  const text = run("two-domains");
  expect(text).toContain("bad: crash, ");
  expect(text).toContain("good: poweroff");
  expect(text).toContain("name = good");
});
