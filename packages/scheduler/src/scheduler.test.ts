// What every policy promises, as one suite that each must pass.
import type { DomId } from "@paravirt/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createCredit2Scheduler, createNullScheduler, type Scheduler, type SchedulerOptions } from "./index.ts";

interface Unit {
  readonly name: string;
}

const DOMAIN = 1 as DomId;

const POLICIES: readonly [string, (options: SchedulerOptions) => Scheduler<Unit>][] = [
  ["credit2", createCredit2Scheduler],
  ["null", createNullScheduler],
];

function silent(): void {}

describe.each(POLICIES)("%s", (policy, create) => {
  test("an empty machine is idle until tickled", () => {
    const scheduler = create({ tickle: silent });
    expect(scheduler.policy).toBe(policy);
    expect(scheduler.pcpus).toBe(1);
    expect(scheduler.schedule(0, 0n)).toEqual({ unit: undefined, slice: Number.POSITIVE_INFINITY });
  });

  test("a unit runs from its first wake to its sleep, and both tickle its processor", () => {
    const tickled: number[] = [];
    const scheduler = create({ tickle: (pcpu) => tickled.push(pcpu) });
    const unit = { name: "a" };
    scheduler.insert(unit, DOMAIN, 0n);
    expect(scheduler.schedule(0, 0n).unit).toBeUndefined();
    scheduler.wake(unit, 1000n);
    expect(tickled).toEqual([0]);
    expect(scheduler.schedule(0, 1000n).unit).toBe(unit);
    scheduler.sleep(unit, 5000n);
    expect(tickled).toEqual([0, 0]);
    expect(scheduler.schedule(0, 5000n).unit).toBeUndefined();
    const statistics = scheduler.statistics(unit, 7000n);
    expect(statistics).toMatchObject({ state: "asleep", ran: 4000, waited: 0, dispatches: 1, pcpu: 0 });
  });

  test("a unit that wakes again before its processor noticed its sleep goes on running", () => {
    const scheduler = create({ tickle: silent });
    const unit = { name: "a" };
    scheduler.insert(unit, DOMAIN, 0n);
    scheduler.wake(unit, 0n);
    scheduler.schedule(0, 0n);
    scheduler.sleep(unit, 100n);
    scheduler.wake(unit, 150n);
    expect(scheduler.schedule(0, 150n).unit).toBe(unit);
    expect(scheduler.statistics(unit, 250n).ran).toBe(200);
  });

  test("waking twice and sleeping twice is waking and sleeping once", () => {
    const scheduler = create({ tickle: silent });
    const unit = { name: "a" };
    scheduler.insert(unit, DOMAIN, 0n);
    scheduler.sleep(unit, 0n);
    scheduler.wake(unit, 0n);
    scheduler.wake(unit, 10n);
    scheduler.schedule(0, 20n);
    expect(scheduler.statistics(unit, 30n)).toMatchObject({ state: "running", ran: 10, waited: 20 });
  });

  test("a removed unit is unknown, and its processor is free", () => {
    const scheduler = create({ tickle: silent });
    const [first, second] = [{ name: "a" }, { name: "b" }];
    for (const unit of [first, second]) {
      scheduler.insert(unit, DOMAIN, 0n);
      scheduler.wake(unit, 0n);
    }
    expect(scheduler.schedule(0, 0n).unit).toBe(first);
    scheduler.remove(first, 10n);
    expect(scheduler.schedule(0, 10n).unit).toBe(second);
    expect(() => scheduler.wake(first, 20n)).toThrow("never inserted");
    expect(() => scheduler.statistics(first, 20n)).toThrow("never inserted");
  });

  test("a caller's mistakes are refused with the number and the limit", () => {
    expect(() => create({ pcpus: 0, tickle: silent })).toThrow("0 processors asked for; a scheduler serves 1 to 4096");
    const scheduler = create({ pcpus: 2, tickle: silent });
    expect(() => scheduler.schedule(2, 0n)).toThrow("processor 2 asked for; there are 2");
    const unit = { name: "a" };
    scheduler.insert(unit, DOMAIN, 0n);
    expect(() => scheduler.insert(unit, DOMAIN, 0n)).toThrow("already");
  });

  test("time that goes back counts as standing still", () => {
    const scheduler = create({ tickle: silent });
    const unit = { name: "a" };
    scheduler.insert(unit, DOMAIN, 1000n);
    scheduler.wake(unit, 1000n);
    scheduler.schedule(0, 1000n);
    expect(scheduler.statistics(unit, 500n).ran).toBe(0);
  });

  test("units on different processors never mix, whatever is asked in whatever order", () => {
    const step = fc.record({
      what: fc.constantFrom("insert", "remove", "wake", "sleep", "yield", "schedule"),
      unit: fc.integer({ min: 0, max: 5 }),
      pcpu: fc.integer({ min: 0, max: 2 }),
      pass: fc.integer({ min: 0, max: 12_000_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.boolean(), (steps, capped) => {
        const run = (): unknown[] => {
          const log: unknown[] = [];
          const scheduler = create({ pcpus: 3, tickle: (pcpu, delay) => log.push(["tickle", pcpu, delay]) });
          if (capped && policy === "credit2") scheduler.setDomain(DOMAIN, { cap: 40 }, 0n);
          const units = Array.from({ length: 6 }, (_, index) => ({ name: `${index}` }));
          const inside = new Set<Unit>();
          const awake = new Set<Unit>();
          const running: (Unit | undefined)[] = [undefined, undefined, undefined];
          let now = 0n;
          for (const { what, unit: index, pcpu, pass } of steps) {
            now += BigInt(pass);
            const unit = units[index]!;
            if (what === "schedule") {
              const { unit: chosen, slice } = scheduler.schedule(pcpu, now);
              log.push([pcpu, chosen?.name, slice]);
              expect(slice).toBeGreaterThan(0);
              running[pcpu] = undefined;
              if (chosen !== undefined) {
                expect(awake).toContain(chosen);
                expect(running).not.toContain(chosen);
                running[pcpu] = chosen;
              }
            } else if (what === "insert") {
              if (inside.has(unit)) continue;
              scheduler.insert(unit, (index % 2) as DomId, now);
              inside.add(unit);
            } else if (inside.has(unit)) {
              if (what === "remove") {
                scheduler.remove(unit, now);
                inside.delete(unit);
                awake.delete(unit);
                running.fill(undefined, running.indexOf(unit), running.indexOf(unit) + 1);
              } else if (what === "wake") {
                scheduler.wake(unit, now);
                awake.add(unit);
              } else if (what === "sleep") {
                scheduler.sleep(unit, now);
                awake.delete(unit);
              } else scheduler.yield(unit, now);
            }
          }
          // The time sheet adds up: whoever is awake is on a processor, queued or held back.
          for (const unit of inside) {
            const { state } = scheduler.statistics(unit, now);
            expect(state === "asleep").toBe(!awake.has(unit));
          }
          return log;
        };
        expect(run()).toEqual(run());
      }),
      { numRuns: 150 },
    );
  });
});

describe("null", () => {
  test("a unit without a processor waits until one is free, and then has it", () => {
    const tickled: number[] = [];
    const scheduler = createNullScheduler<Unit>({ pcpus: 2, tickle: (pcpu) => tickled.push(pcpu) });
    const units = ["a", "b", "c", "d"].map((name) => ({ name }));
    for (const unit of units) {
      scheduler.insert(unit, DOMAIN, 0n);
      scheduler.wake(unit, 0n);
    }
    expect([0, 1].map((pcpu) => scheduler.schedule(pcpu, 0n).unit?.name)).toEqual(["a", "b"]);
    scheduler.sleep(units[1]!, 10n);
    expect(scheduler.schedule(1, 10n).unit).toBeUndefined();
    tickled.length = 0;
    scheduler.remove(units[0]!, 100n);
    expect(tickled).toEqual([0]);
    expect(scheduler.schedule(0, 100n).unit?.name).toBe("c");
    expect(scheduler.statistics(units[2]!, 100n).waited).toBe(100);
    scheduler.remove(units[3]!, 100n);
    scheduler.remove(units[2]!, 100n);
    expect(scheduler.schedule(0, 100n).unit).toBeUndefined();
  });

  test("weights and caps are refused by name", () => {
    const scheduler = createNullScheduler<Unit>({ tickle: silent });
    expect(() => scheduler.setDomain(DOMAIN, { weight: 512 }, 0n)).toThrow("the null scheduler has no weight");
    expect(() => scheduler.setDomain(DOMAIN, { cap: 50 }, 0n)).toThrow("the null scheduler has no cap");
  });
});
