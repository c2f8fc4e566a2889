import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDebianVm, type DebianVm } from "./debian-vm.ts";

// Debian's kernel with the real agent: commands in a guest that keeps running.
let vm: DebianVm;
beforeAll(async () => {
  vm = await createDebianVm({ memory: 256, vcpus: 2 });
});
afterAll(() => vm?.close());

const run = async (script: string, options?: Parameters<DebianVm["exec"]>[1]) =>
  (await vm.exec(["sh", "-c", script], options)).output();
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

test("a command has its own streams, status, environment and folder", async () => {
  const script = 'echo "$GREETING"; pwd; echo oops >&2; cat; exit 7';
  const { status, stdout, stderr } = await run(script, {
    env: { GREETING: "it's $1\n`x`" },
    cwd: "/proc/sys",
    stdin: "typed",
  });
  expect([status, stdout, stderr]).toEqual([7, "it's $1\n`x`\n/proc/sys\ntyped", "oops\n"]);
});

test("statuses are those of a shell: not found, no folder, killed", async () => {
  expect((await (await vm.exec(["/no/such/program"])).output()).status).toBe(127);
  expect((await (await vm.exec(["true"], { cwd: "/no/such/folder" })).output()).status).toBe(126);
  expect((await run("kill -9 $$")).status).toBe(137);
});

test("without input a command reads an end of file, and every argument arrives byte for byte", async () => {
  const words = ["a b", "it's", "two\nlines", "", "-n", "*", "\u0001\u007f\t", "héλ"];
  const { stdout } = await (await vm.exec(["sh", "-c", 'cat; printf "%s|" "$@"', "sh", ...words])).output();
  expect(stdout).toBe(words.map((word) => `${word}|`).join(""));
});

test("a megabyte of any bytes goes in and comes back", async () => {
  const input = randomBytes(1_000_003);
  const process = await vm.exec(["cat"], { stdin: input });
  const parts: Uint8Array[] = [];
  for await (const part of process.stdout) parts.push(part);
  expect(sha256(Buffer.concat(parts))).toBe(sha256(input));
  expect(await process.status).toBe(0);
});

test("what a command writes shows before it ends, and what it is given reaches it before the input's end", async () => {
  let give!: (text: string) => void;
  const lines = (async function* () {
    for (let turn = 0; turn < 2; turn++) yield Buffer.from(await new Promise<string>((resolve) => (give = resolve)));
  })();
  const process = await vm.exec(["sh", "-c", 'while read -r line; do echo "got $line"; done'], { stdin: lines });
  const reader = process.stdout.getReader();
  const heard = async () => Buffer.from((await reader.read()).value!).toString();
  for (const word of ["one", "two"]) {
    while (give === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
    give(`${word}\n`);
    expect(await heard()).toBe(`got ${word}\n`);
  }
  expect(await process.status).toBe(0);
});

test("a command waits for a slow reader", async () => {
  const process = await vm.exec(["sh", "-c", "dd if=/dev/zero bs=64k count=40 2>/dev/null; echo done >&2"]);
  const early = await Promise.race([
    process.status,
    new Promise((resolve) => setTimeout(() => resolve("waits"), 1500)),
  ]);
  expect(early).toBe("waits");
  let size = 0;
  for await (const part of process.stdout) size += part.length;
  expect([size, await process.status]).toEqual([40 * 65536, 0]);
});

test("cancelling a stream is closing a pipe", async () => {
  const process = await vm.exec(["yes"]);
  await process.stdout.cancel();
  expect(await process.status).toBe(141);
});

test("aborting kills the command and what it started", async () => {
  const controller = new AbortController();
  const process = await vm.exec(["sh", "-c", "sleep 4242 & sleep 4242; echo never"], { signal: controller.signal });
  const reason = new Error("enough");
  controller.abort(reason);
  await expect(process.status).rejects.toBe(reason);
  await expect(process.output()).rejects.toBe(reason);
  expect((await run("sleep 0.3; ps | grep -c '[s]leep 4242'")).stdout).toBe("0\n");
});

test("a command can be signalled, and ignores nothing from the start", async () => {
  const process = await vm.exec([
    "sh",
    "-c",
    "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.1; done",
  ]);
  const reader = process.stdout.getReader();
  await reader.read();
  process.kill("INT");
  expect(Buffer.from((await reader.read()).value!).toString()).toBe("interrupted\n");
  expect(await process.status).toBe(3);
});

test("twenty commands at once, each with its own input", async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) => run("sleep 0.2; cat; echo $0", { stdin: `${index}:` })),
  );
  expect(answers.map(({ stdout }) => stdout)).toEqual(Array.from({ length: 20 }, (_, index) => `${index}:sh\n`));
});

test("a hundred commands one after another leave nothing behind", async () => {
  const processes = async () => Number((await run("ls -d /proc/[0-9]* | wc -l")).stdout);
  const before = await processes();
  for (let index = 0; index < 100; index++) {
    const { status, stdout } = await run(`echo ${index}; exit ${index}`);
    expect([status, stdout]).toEqual([index, `${index}\n`]);
  }
  expect(await processes()).toBeLessThanOrEqual(before + 4);
});

test("when the guest powers off, commands that run reject, and so do later ones", async () => {
  const running = await vm.exec(["sleep", "1000"]);
  const [shutdown, status] = await Promise.allSettled([vm.powerOff(), running.status]);
  expect(shutdown).toMatchObject({ value: { reason: "poweroff" } });
  // Either end comes first: the guest's init kills it, or the guest is gone.
  if (status.status === "rejected") expect(String(status.reason)).toContain("the guest has ended");
  else expect([137, 143]).toContain(status.value);
  await expect(vm.exec(["true"])).rejects.toThrow("the guest has ended");
});
