import { readFileSync } from "node:fs";
import { createDebianVm } from "paravirt";
import { expect, test } from "vitest";

const WARM_UP = 50;
const ROUNDS = 1000;
/** Commands of which the first and the last ones are compared. */
const WINDOW = 100;

function residentMiB(): number {
  return Number(/VmRSS:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]) / 1024;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

test("a thousand commands in one machine: the last ones cost what the first ones did, and nothing of them stays", async () => {
  const vm = await createDebianVm({ memory: 256 });
  const count = async (script: string): Promise<number> => {
    const { status, stdout } = await (await vm.exec(["sh", "-c", script])).output();
    expect(status).toBe(0);
    return Number(stdout);
  };
  const state = async () => ({
    processes: await count("ls -d /proc/[0-9]* | wc -l"),
    freeKiB: await count("awk '/^MemAvailable/ { print $2 }' /proc/meminfo"),
    residentMiB: residentMiB(),
  });
  try {
    for (let turn = 0; turn < WARM_UP; turn++) expect(await count(`echo ${turn}`)).toBe(turn);
    const before = await state();
    // Instructions, since what one of them costs depends on what else the processor does.
    const costs: number[] = [];
    for (let turn = 0; turn < ROUNDS; turn++) {
      const { instructions } = vm.machine.statistics();
      expect(await count(`echo ${turn}`)).toBe(turn);
      costs.push(vm.machine.statistics().instructions - instructions);
    }
    const after = await state();
    const cost = [median(costs.slice(0, WINDOW)), median(costs.slice(-WINDOW))] as const;
    const report = JSON.stringify({ before, after, cost });
    console.log(report);
    expect(cost[1], report).toBeLessThan(cost[0] * 1.1);
    expect(after.processes, report).toBeLessThanOrEqual(before.processes + 3);
    expect(after.freeKiB, report).toBeGreaterThan(before.freeKiB - 4096);
    expect(after.residentMiB, report).toBeLessThan(before.residentMiB + 64);
  } finally {
    await vm.close();
  }
});
