import { readFileSync } from "node:fs";
import { createDebianVm } from "paravirt";
import { expect, test } from "vitest";

const ROUNDS = 1000;
/** Commands of which the first and last ones are compared. */
const WINDOW = 100;

/** Processor seconds of this process. */
function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function residentMiB(): number {
  return Number(/VmRSS:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]) / 1024;
}

test("a thousand commands in one machine: the last ones cost what the first ones did, in time and memory", async () => {
  const vm = await createDebianVm({ memory: 256 });
  const count = async (script: string): Promise<number> => {
    const { status, stdout } = await (await vm.exec(["sh", "-c", script])).output();
    expect(status).toBe(0);
    return Number(stdout);
  };
  const guestFree = (): Promise<number> => count("awk '/^MemAvailable/ { print $2 }' /proc/meminfo");
  const processes = (): Promise<number> => count("ls -d /proc/[0-9]* | wc -l");
  try {
    // What is compared begins when the paths are translated and the heap has its size.
    for (let turn = 0; turn < WINDOW; turn++) expect(await count(`echo ${turn}`)).toBe(turn);
    const before = { processes: await processes(), free: await guestFree(), resident: residentMiB() };
    const costs: number[] = [];
    let last = processorTime();
    for (let turn = 0; turn < ROUNDS; turn++) {
      expect(await count(`echo ${turn}`)).toBe(turn);
      const now = processorTime();
      costs.push(now - last);
      last = now;
    }
    const after = { processes: await processes(), free: await guestFree(), resident: residentMiB() };
    const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
    const cost = [median(costs.slice(0, WINDOW)), median(costs.slice(-WINDOW))] as const;
    const report = JSON.stringify({ before, after, cost });
    console.log(report);
    expect(after.processes, report).toBeLessThanOrEqual(before.processes + 2);
    expect(after.free, report).toBeGreaterThan(before.free - 4096);
    expect(after.resident, report).toBeLessThan(before.resident + 64);
    expect(cost[1], report).toBeLessThan(cost[0] * 1.5);
  } finally {
    await vm.close();
  }
});
