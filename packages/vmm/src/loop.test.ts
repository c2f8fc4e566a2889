import { SCHEDOP } from "@paravirt/xen-abi";
import { expect, test } from "vitest";
import { instructionClock } from "./clock.ts";
import { createMachine } from "./machine.ts";
import { assembleGuest } from "./mini/assemble-guest.ts";
import { miniGuest } from "./mini/mini-guest.ts";

const spinning = assembleGuest(() => "forever: jmp forever");
const blocking = assembleGuest(
  ({ hypercall }) => `
  again:
    mov edi, ${SCHEDOP.block}
    xor esi, esi
    ${hypercall("sched_op")}
    jmp again`,
);

const sleep = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** Processor time in milliseconds that this process uses in the next `milliseconds`. */
async function processorTime(milliseconds: number): Promise<number> {
  const before = process.cpuUsage();
  await sleep(milliseconds);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

test("what the scheduler decides does not depend on the host's speed", async () => {
  const run = async (busy: number) => {
    // A host that has much else to do at odd times.
    const disturb = setInterval(() => {
      for (const end = performance.now() + busy; performance.now() < end; );
    }, 3);
    using machine = createMachine({ memory: 48, clock: instructionClock() });
    const hogs = await Promise.all([
      machine.createDomain({ kernel: spinning, memory: 8, weight: 100 }),
      machine.createDomain({ kernel: spinning, memory: 8, weight: 300, cap: 40 }),
    ]);
    const mini = await machine.createDomain({ kernel: miniGuest(), memory: 8 });
    const times: number[] = [];
    // Watches fire in the middle of what happens, promises when the host has time.
    machine.xenstore.watch("@releaseDomain", () => {
      if (!mini.running && times.length === 0)
        times.push(...hogs.map((hog) => hog.cpuTime), machine.statistics().instructions);
    });
    await mini.shutdown;
    clearInterval(disturb);
    return times;
  };
  const times = await run(0);
  expect(times[0]).toBeGreaterThan(0);
  expect(await run(5)).toEqual(times);
  expect(await run(11)).toEqual(times);
});

test("an idle machine, and a paused one, use no processor time", async () => {
  using machine = createMachine({ memory: 48 });
  const idle = await machine.createDomain({ kernel: blocking, memory: 8 });
  const paused = await machine.createDomain({ kernel: spinning, memory: 8 });
  await sleep(50);
  expect(paused.cpuTime).toBeGreaterThan(0);
  paused.pause();
  await sleep(50);
  const time = idle.cpuTime + paused.cpuTime;
  expect(await processorTime(500)).toBeLessThan(100);
  expect(idle.cpuTime + paused.cpuTime).toBe(time);
});

test("a domain paused with a timer set waits without spinning, and gets its event later", async () => {
  using machine = createMachine({ memory: 48 });
  const domain = await machine.createDomain({ kernel: miniGuest(), memory: 8 });
  while (domain.hypercalls().vcpu_op === undefined) await new Promise<void>((resolve) => setImmediate(resolve));
  domain.pause();
  await sleep(50);
  expect(await processorTime(300)).toBeLessThan(100);
  domain.unpause();
  expect((await domain.shutdown).reason).toBe("poweroff");
});

test("the host's event loop has its turns while guests spin", async () => {
  using machine = createMachine({ memory: 48 });
  await machine.createDomain({ kernel: spinning, memory: 8 });
  await machine.createDomain({ kernel: spinning, memory: 8 });
  await sleep(100);
  const waits: number[] = [];
  for (let round = 0; round < 20; round++) {
    const before = performance.now();
    await sleep(1);
    waits.push(performance.now() - before);
  }
  // The median: other programs may take the processor away now and then.
  expect(waits.sort((a, b) => a - b)[10]).toBeLessThan(20);
});
