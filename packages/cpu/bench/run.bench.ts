// Guest instructions a second: interpreted and translated, side by side. Run with `npm run bench [-- --json FILE]`.
import { writeFileSync } from "node:fs";
import { assemble } from "@paravirt/x86";
import { LAYOUT, pageImage } from "../conformance/cases.ts";
import { ConformanceMachine } from "../conformance/machine.ts";

const PROGRAMS: Readonly<Record<string, string>> = {
  arithmetic:
    "mov ecx, 20000000\nagain: add rax, rcx\nxor rdx, rax\nrol rdx, 7\nsub rsi, rdx\ndec ecx\njnz again\nint3",
  memory:
    "mov ecx, 20000000\nagain: mov rax, [rbx+64]\nadd rax, rcx\nmov [rbx+128], rax\nadd [rbx+64], rcx\ndec ecx\njnz again\nint3",
  calls:
    "mov ecx, 4000000\nagain: call leaf\ndec ecx\njnz again\nint3\nleaf: push rbp\nmov rbp, rsp\nadd rax, rcx\npop rbp\nret",
  branches:
    "mov ecx, 20000000\nagain: test cl, 1\njz even\nadd rax, 3\njmp on\neven: sub rdx, 5\non: dec ecx\njnz again\nint3",
};

const rows: Record<string, { interpreted: number; translated: number; ratio: number }> = {};
console.log("million guest instructions a second of CPU time");
for (const [name, source] of Object.entries(PROGRAMS)) {
  const { bytes } = assemble(source, { address: BigInt(LAYOUT.entry) });
  const rate = (translate: boolean): number => {
    const machine = new ConformanceMachine(pageImage(1), pageImage(2), { translate, budget: 1_000_000 });
    let best = 0;
    for (let round = 0; round < 4; round++) {
      const before = machine.engine.stats.instructions;
      const start = process.cpuUsage();
      machine.execute(bytes, []);
      const used = process.cpuUsage(start);
      best = Math.max(best, (machine.engine.stats.instructions - before) / (used.user + used.system));
    }
    return Math.round(best);
  };
  const interpreted = rate(false);
  const translated = rate(true);
  rows[name] = { interpreted, translated, ratio: Number((translated / interpreted).toFixed(2)) };
  console.log(
    `${name.padEnd(12)} interpreted ${String(interpreted).padStart(5)}   translated ${String(translated).padStart(5)}   ratio ${rows[name].ratio}`,
  );
}
const file = process.argv[process.argv.indexOf("--json") + 1];
if (process.argv.includes("--json") && file)
  writeFileSync(file, `${JSON.stringify({ unit: "million guest instructions per CPU second", rows }, null, 2)}\n`);
