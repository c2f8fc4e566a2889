import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";

/** What each program of examples/ prints, whole. */
const OUTPUT: Readonly<Record<string, string>> = {
  "decode-function.mjs": `401000  xor eax, eax                 reads rax, writes rax
401002  test esi, esi                reads rsi
401004  je 0x401011
401006  add rax, qword ptr [rdi]     reads rax rdi, writes rax
401009  add rdi, 0x8                 reads rdi, writes rdi
40100d  dec esi                      reads rsi, writes rsi
40100f  jne 0x401006
401011  ret                          reads rsp, writes rsp
`,
  "xenstore-alone.mjs": `toolstack: the guest's device is in state (none)
toolstack: the guest's device is in state 1
guest: my address is 00:16:3e:00:00:01
guest: its backend is /local/domain/0/backend/vif/1/0
toolstack: the guest's device is in state 3
toolstack: it offers backend backend-id state mac tx-ring-ref rx-ring-ref
guest writes to its backend: EACCES
stranger reads the guest's device: EACCES
`,
  "custom-vmm.mjs": `mini guest: hello from ring 3 of xen-3.0-x86_64
frame list: good
name = own
domid = 1
timer: event
the guest ended with reason 0
`,
  "two-domains.mjs": `2 domains run
--- reckless: crash, trap 6: the guest registered no handler
mini guest: hello from ring 3 of xen-3.0-x86_64
frame list: good
name = reckless
domid = 1
timer: event
--- steady: poweroff
mini guest: hello from ring 3 of xen-3.0-x86_64
frame list: good
name = steady
domid = 2
timer: event
--- 0 domains run
`,
};

// The programs run on the built packages, by their npm names. Nothing is built that is up to date.
beforeAll(() => {
  const { status, stdout, stderr } = spawnSync("npm", ["run", "--silent", "prepare"], { encoding: "utf8" });
  expect(status, stdout + stderr).toBe(0);
}, 120_000);

test("each example is tested", () => {
  expect(readdirSync("examples").sort()).toEqual(Object.keys(OUTPUT).sort());
});

test.each(Object.entries(OUTPUT))("%s prints what it should", (name, output) => {
  const { status, stdout, stderr } = spawnSync("node", [`examples/${name}`], { encoding: "utf8", timeout: 60_000 });
  expect(stderr).toBe("");
  expect(stdout).toBe(output);
  expect(status).toBe(0);
});
