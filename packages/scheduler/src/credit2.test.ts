// The policy's promises, on simulated processors: nothing here waits for real time.
import type { DomId } from "@paravirt/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Credit2Options, createCredit2Scheduler, type Scheduler } from "./index.ts";

const MS = 1_000_000;
const SECOND = 1000 * MS;

/** A VCPU that computes for `work`, then sleeps for `rest`; without rest it never sleeps. */
interface Load {
  readonly work: number;
  readonly rest: number;
}

interface Actor {
  readonly load: Load;
  /** Nanoseconds of work left before it sleeps. */
  left: number;
  wakesAt: number;
  /** When it became runnable, while it waits for its first dispatch after a wake. */
  wokeAt: number | undefined;
  worstLatency: number;
}

interface Outcome {
  readonly actors: readonly Actor[];
  readonly scheduler: Scheduler<Actor>;
  /** Who ran when, for comparing runs. */
  readonly log: readonly string[];
  share(actor: number): number;
}

interface Setup {
  readonly loads: readonly {
    readonly load: Load;
    readonly weight?: number;
    readonly cap?: number;
    readonly domain?: number;
  }[];
  readonly duration: number;
  readonly options?: Omit<Credit2Options, "tickle">;
  readonly keepLog?: boolean;
}

const HOG: Load = { work: Number.POSITIVE_INFINITY, rest: 0 };

function simulate({ loads, duration, options, keepLog }: Setup): Outcome {
  const pcpus = options?.pcpus ?? 1;
  const deadlines = new Array<number>(pcpus).fill(0);
  const running = new Array<Actor | undefined>(pcpus).fill(undefined);
  let now = 0;
  const scheduler = createCredit2Scheduler<Actor>({
    ...options,
    tickle: (pcpu, delay) => {
      deadlines[pcpu] = Math.min(deadlines[pcpu]!, now + delay);
    },
  });
  const log: string[] = [];
  const actors = loads.map(({ load, weight, cap, domain }, index): Actor => {
    const id = (domain ?? index + 1) as DomId;
    const actor = { load, left: load.work, wakesAt: 0, wokeAt: undefined, worstLatency: 0 };
    scheduler.insert(actor, id, 0n);
    if (weight !== undefined || cap !== undefined) {
      scheduler.setDomain(id, { ...(weight && { weight }), ...(cap && { cap }) }, 0n);
    }
    return actor;
  });
  while (now < duration) {
    for (const actor of actors) {
      if (actor.wakesAt > now) continue;
      actor.wakesAt = Number.POSITIVE_INFINITY;
      actor.wokeAt = now;
      scheduler.wake(actor, BigInt(now));
    }
    for (let pcpu = 0; pcpu < pcpus; pcpu++) {
      const actor = running[pcpu];
      if (actor !== undefined && actor.left === 0) {
        actor.left = actor.load.work;
        actor.wakesAt = now + actor.load.rest;
        scheduler.sleep(actor, BigInt(now));
        running[pcpu] = undefined;
      }
      if (deadlines[pcpu]! > now) continue;
      deadlines[pcpu] = Number.POSITIVE_INFINITY;
      const { unit, slice } = scheduler.schedule(pcpu, BigInt(now));
      deadlines[pcpu] = now + slice;
      running[pcpu] = unit;
      if (keepLog) log.push(`${now} ${pcpu} ${unit === undefined ? "-" : actors.indexOf(unit)}`);
      if (unit?.wokeAt !== undefined) {
        unit.worstLatency = Math.max(unit.worstLatency, now - unit.wokeAt);
        unit.wokeAt = undefined;
      }
    }
    let next = duration;
    for (const actor of actors) next = Math.min(next, actor.wakesAt);
    for (let pcpu = 0; pcpu < pcpus; pcpu++) {
      next = Math.min(next, deadlines[pcpu]!, now + (running[pcpu]?.left ?? Number.POSITIVE_INFINITY));
    }
    const passed = Math.max(0, next - now);
    for (const actor of running) if (actor !== undefined) actor.left -= passed;
    now = next;
  }
  return {
    actors,
    scheduler,
    log,
    share: (actor) => scheduler.statistics(actors[actor]!, BigInt(now)).ran / duration,
  };
}

describe("units that always want to run", () => {
  test("share a processor by weight", () => {
    const weights = fc.array(fc.integer({ min: 64, max: 640 }), { minLength: 2, maxLength: 8 });
    fc.assert(
      fc.property(weights, (all) => {
        const total = all.reduce((sum, weight) => sum + weight, 0);
        const { share } = simulate({ loads: all.map((weight) => ({ load: HOG, weight })), duration: 20 * SECOND });
        all.forEach((weight, index) => {
          expect(share(index)).toBeGreaterThan((weight / total) * 0.97 - 0.001);
          expect(share(index)).toBeLessThan((weight / total) * 1.03 + 0.001);
        });
      }),
      { numRuns: 40 },
    );
  });

  test("share several processors by weight where no unit's share is more than one", () => {
    const { share } = simulate({
      loads: [256, 256, 512, 512, 256, 256].map((weight) => ({ load: HOG, weight })),
      duration: 20 * SECOND,
      options: { pcpus: 2 },
    });
    for (const index of [0, 1, 4, 5]) expect(share(index)).toBeCloseTo(0.25, 1);
    for (const index of [2, 3]) expect(share(index)).toBeCloseTo(0.5, 1);
  });

  test("all run again and again: none starves, however much others weigh", () => {
    const weights = fc.array(fc.integer({ min: 1, max: 65535 }), { minLength: 2, maxLength: 6 });
    fc.assert(
      fc.property(weights, (all) => {
        const loads = all.map((weight) => ({ load: HOG, weight }));
        const first = simulate({ loads, duration: 3 * SECOND });
        const second = simulate({ loads, duration: 6 * SECOND });
        all.forEach((_, index) => {
          expect(second.share(index) * 6).toBeGreaterThan(first.share(index) * 3);
        });
      }),
      { numRuns: 30 },
    );
  });

  test("a new weight takes effect at once", () => {
    const { scheduler, actors } = simulate({ loads: [{ load: HOG }, { load: HOG }], duration: SECOND });
    scheduler.setDomain(1 as DomId, { weight: 512 }, BigInt(SECOND));
    expect(scheduler.domainParameters(1 as DomId)).toEqual({ weight: 512, cap: 0 });
    const before = actors.map((actor) => scheduler.statistics(actor, BigInt(SECOND)).ran);
    let now = SECOND;
    while (now < 4 * SECOND) now += scheduler.schedule(0, BigInt(now)).slice;
    const [a, b] = actors.map((actor, index) => scheduler.statistics(actor, BigInt(now)).ran - before[index]!);
    expect(a! / b!).toBeCloseTo(2, 1);
  });
});

describe("a unit that sleeps", () => {
  test("saves no more than an epoch and half a millisecond, however long it slept", () => {
    const load = { work: MS, rest: 5 * SECOND };
    const { scheduler, actors } = simulate({ loads: [{ load }, { load: HOG }], duration: 4 * SECOND });
    expect(scheduler.statistics(actors[0]!, BigInt(4 * SECOND)).credit).toBeLessThanOrEqual(10.5 * MS);
    // So it can keep a competitor of its weight off the processor for about that long, and no longer.
    scheduler.wake(actors[0]!, BigInt(4 * SECOND));
    let now = 4 * SECOND;
    let kept = 0;
    for (;;) {
      const { unit, slice } = scheduler.schedule(0, BigInt(now));
      if (unit !== actors[0]) {
        if (kept > 0) break;
      } else kept += slice;
      now += slice;
    }
    expect(kept).toBeLessThanOrEqual(12 * MS);
  });

  test("gets what it asks for when that is less than its share", () => {
    const asks = { work: 2 * MS, rest: 18 * MS };
    const { share } = simulate({ loads: [{ load: asks }, { load: HOG }, { load: HOG }], duration: 10 * SECOND });
    expect(share(0)).toBeGreaterThan(0.08);
  });

  test("preempts within the rate limit a unit that has less credit", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 20_000, max: 300_000 }),
        fc.integer({ min: 8 * MS, max: 60 * MS }),
        fc.constantFrom(0, 100_000, MS, 5 * MS),
        (work, rest, rateLimit) => {
          const { actors } = simulate({
            loads: [{ load: { work, rest } }, { load: HOG }],
            duration: SECOND,
            options: { rateLimit },
          });
          expect(actors[0]!.worstLatency).toBeLessThanOrEqual(rateLimit);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("that wakes during the rate limit of another takes over at its end", () => {
    const tickled: [number, number][] = [];
    const scheduler = createCredit2Scheduler<object>({ tickle: (pcpu, delay) => tickled.push([pcpu, delay]) });
    const [hog, light] = [{}, {}];
    for (const unit of [hog, light]) scheduler.insert(unit, 1 as DomId, 0n);
    scheduler.wake(hog, 0n);
    expect(scheduler.schedule(0, 0n)).toEqual({ unit: hog, slice: 10 * MS });
    tickled.length = 0;
    scheduler.wake(light, 300_000n);
    expect(tickled).toEqual([[0, 700_000]]);
    expect(scheduler.schedule(0, 999_999n).unit).toBe(hog);
    expect(scheduler.schedule(0, 1_000_000n).unit).toBe(light);
  });

  test("that is preempted takes another processor where a unit with less credit runs", () => {
    const tickled: number[] = [];
    const scheduler = createCredit2Scheduler<object>({ pcpus: 2, tickle: (pcpu) => tickled.push(pcpu) });
    const [rested, fresh, spent] = [{}, {}, {}];
    for (const unit of [rested, fresh, spent]) scheduler.insert(unit, 1 as DomId, 0n);
    // `rested` was on processor 0 once.
    scheduler.wake(rested, 0n);
    expect(scheduler.schedule(0, 0n).unit).toBe(rested);
    scheduler.sleep(rested, 1n);
    scheduler.schedule(0, 1n);
    scheduler.wake(spent, 1n);
    expect(scheduler.schedule(0, 1n).unit).toBe(spent);
    // Four milliseconds later `fresh` comes up on processor 1, and after two more `rested` preempts on its own.
    scheduler.wake(fresh, BigInt(4 * MS));
    expect(scheduler.schedule(1, BigInt(4 * MS)).unit).toBe(fresh);
    scheduler.wake(rested, BigInt(6 * MS));
    tickled.length = 0;
    expect(scheduler.schedule(0, BigInt(6 * MS)).unit).toBe(rested);
    expect(tickled).toEqual([]); // `spent` has less credit than `fresh`: it waits.
    // The other way round, the unit put back has more credit than the one on the other processor.
    const other = createCredit2Scheduler<object>({ pcpus: 2, tickle: (pcpu) => tickled.push(pcpu) });
    for (const unit of [rested, fresh, spent]) other.insert(unit, 1 as DomId, 0n);
    other.wake(spent, 0n);
    expect(other.schedule(0, 0n).unit).toBe(spent);
    other.wake(rested, 0n);
    expect(other.schedule(1, 0n).unit).toBe(rested);
    other.sleep(rested, 1n);
    other.schedule(1, 1n);
    other.wake(fresh, BigInt(6 * MS));
    expect(other.schedule(1, BigInt(6 * MS)).unit).toBe(fresh);
    other.wake(rested, BigInt(8 * MS));
    tickled.length = 0;
    expect(other.schedule(1, BigInt(8 * MS)).unit).toBe(rested);
    expect(tickled).toEqual([0]);
    expect(other.schedule(0, BigInt(8 * MS)).unit).toBe(fresh);
  });

  test("waits for no more than a slice of each competitor when they all have more credit", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: MS / 10, max: 4 * MS }), (hogs, work) => {
        const loads = [{ load: { work, rest: 10 * MS } }, ...Array.from({ length: hogs }, () => ({ load: HOG }))];
        const { actors } = simulate({ loads, duration: 2 * SECOND });
        expect(actors[0]!.worstLatency).toBeLessThanOrEqual(11 * MS * hogs);
      }),
      { numRuns: 25 },
    );
  });
});

describe("a cap", () => {
  test("holds a domain to its percentage, alone or not, and leaves the rest idle", () => {
    fc.assert(
      fc.property(fc.integer({ min: 5, max: 95 }), fc.boolean(), (cap, company) => {
        const { share } = simulate({
          loads: [{ load: HOG, cap, weight: 65535 }, ...(company ? [{ load: HOG, weight: 64 }] : [])],
          duration: 5 * SECOND,
        });
        expect(share(0)).toBeGreaterThan(cap / 100 - 0.02);
        expect(share(0)).toBeLessThan(cap / 100 + 0.005);
        if (company) expect(share(0) + share(1)).toBeCloseTo(1, 5);
      }),
      { numRuns: 25 },
    );
  });

  test("holds all units of a domain together, on several processors", () => {
    const { share } = simulate({
      loads: [0, 1, 2].map(() => ({ load: HOG, cap: 120, domain: 7 })),
      duration: 5 * SECOND,
      options: { pcpus: 3 },
    });
    expect(share(0) + share(1) + share(2)).toBeGreaterThan(1.15);
    expect(share(0) + share(1) + share(2)).toBeLessThan(1.21);
    for (const index of [0, 1, 2]) expect(share(index)).toBeGreaterThan(0.2);
  });

  test("shows in the statistics as time parked, and goes when it is set to 0", () => {
    const { scheduler, actors } = simulate({ loads: [{ load: HOG, cap: 25 }], duration: SECOND });
    const statistics = scheduler.statistics(actors[0]!, BigInt(SECOND));
    expect(statistics.parked).toBeGreaterThan(0.7 * SECOND);
    expect(statistics.parked + statistics.ran + statistics.waited).toBe(SECOND);
    scheduler.setDomain(1 as DomId, { cap: 0 }, BigInt(SECOND));
    expect(scheduler.schedule(0, BigInt(SECOND)).unit).toBe(actors[0]);
    expect(scheduler.schedule(0, BigInt(2 * SECOND)).unit).toBe(actors[0]);
  });

  test("of a unit that sleeps while parked does not wake it", () => {
    const { scheduler, actors } = simulate({ loads: [{ load: HOG, cap: 10 }], duration: 5 * MS });
    expect(scheduler.statistics(actors[0]!, BigInt(5 * MS)).state).toBe("parked");
    scheduler.sleep(actors[0]!, BigInt(5 * MS));
    expect(scheduler.schedule(0, BigInt(5 * MS))).toEqual({ unit: undefined, slice: Number.POSITIVE_INFINITY });
    expect(scheduler.schedule(0, BigInt(50 * MS)).unit).toBeUndefined();
  });
});

describe("a yield", () => {
  test("lets another run, though it has less credit, and once", () => {
    const scheduler = createCredit2Scheduler<string[]>({ tickle: () => {} });
    const [a, b] = [["a"], ["b"]];
    for (const unit of [a, b]) scheduler.insert(unit, 1 as DomId, 0n);
    scheduler.wake(a, 0n);
    expect(scheduler.schedule(0, 0n).unit).toBe(a);
    scheduler.wake(b, 10n);
    expect(scheduler.schedule(0, 20n).unit).toBe(a);
    scheduler.yield(a, 30n);
    expect(scheduler.schedule(0, 30n).unit).toBe(b);
    scheduler.yield(b, 40n);
    expect(scheduler.schedule(0, 40n).unit).toBe(a);
    expect(scheduler.schedule(0, 50n).unit).toBe(a);
  });

  test("with nobody else changes nothing", () => {
    const scheduler = createCredit2Scheduler<string[]>({ tickle: () => {} });
    const unit = ["a"];
    scheduler.insert(unit, 1 as DomId, 0n);
    scheduler.wake(unit, 0n);
    scheduler.schedule(0, 0n);
    scheduler.yield(unit, 10n);
    expect(scheduler.schedule(0, 10n).unit).toBe(unit);
  });
});

describe("credit2", () => {
  test("decides the same for the same calls", () => {
    const load = fc.record({
      work: fc.integer({ min: 1000, max: 20 * MS }),
      rest: fc.integer({ min: 1000, max: 20 * MS }),
    });
    const loads = fc.array(fc.record({ load, weight: fc.integer({ min: 1, max: 1024 }) }), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(loads, fc.integer({ min: 1, max: 3 }), (all, pcpus) => {
        const setup: Setup = { loads: all, duration: SECOND / 5, options: { pcpus }, keepLog: true };
        expect(simulate(setup).log).toEqual(simulate(setup).log);
      }),
      { numRuns: 20 },
    );
  });

  test("never leaves a processor idle while a unit waits", () => {
    const load = fc.record({
      work: fc.integer({ min: 1000, max: 20 * MS }),
      rest: fc.integer({ min: 1000, max: 20 * MS }),
    });
    fc.assert(
      fc.property(fc.array(load, { minLength: 1, maxLength: 6 }), fc.integer({ min: 1, max: 3 }), (all, pcpus) => {
        const { actors, scheduler } = simulate({
          loads: [{ load: HOG }, ...all.map((one) => ({ load: one }))],
          duration: SECOND / 2,
          options: { pcpus },
        });
        const states = actors.map((actor) => scheduler.statistics(actor, BigInt(SECOND / 2)).state);
        const busy = states.filter((state) => state === "running").length;
        const wanting = states.filter((state) => state !== "asleep").length;
        expect(busy).toBe(Math.min(pcpus, wanting));
      }),
      { numRuns: 60 },
    );
  });

  test("refuses numbers out of range by value and limit", () => {
    const scheduler = createCredit2Scheduler<object>({ tickle: () => {} });
    expect(() => scheduler.setDomain(3 as DomId, { weight: 0 }, 0n)).toThrow("weight 0 of domain 3 is not 1 to 65535");
    expect(() => scheduler.setDomain(3 as DomId, { cap: -1 }, 0n)).toThrow("cap -1 of domain 3 is not 0 to 65535");
    expect(() => createCredit2Scheduler({ tickle: () => {}, rateLimit: 10 })).toThrow("rate limit 10 ns");
  });
});
