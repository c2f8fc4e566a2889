import { type DomId, ParavirtError } from "@paravirt/core";
import { Account, checkPcpus, noSuchPcpu, noSuchUnit, Time } from "./account.ts";
import {
  BUDGET_PERIOD,
  burn,
  CREDIT_INIT,
  CREDIT_RESET,
  type Credit2Domain,
  type Credit2Unit,
  epochCredit,
  MAX_TIMER,
  MIGRATE_COMPENSATION,
  MIGRATE_RESIST,
  MIN_TIMER,
  outOfBudget,
  periodBudget,
  RATELIMIT_TOLERANCE,
  renew,
  replenish,
  timeFor,
} from "./credit2-credit.ts";
import type { Decision, DomainParameters, Scheduler, SchedulerOptions, UnitStatistics } from "./scheduler.ts";

/** What {@link createCredit2Scheduler} is made with. */
export interface Credit2Options extends SchedulerOptions {
  /**
   * Nanoseconds for which a unit that wants to run is not preempted once it runs: 0 for none, else 100,000 to
   * 500,000,000; 1,000,000 when left out.
   */
  readonly rateLimit?: number;
}

const DEFAULTS: DomainParameters = { weight: 256, cap: 0 };

interface Pcpu<U> {
  readonly index: number;
  current: Credit2Unit<U> | undefined;
  /** Asked to schedule at once, and has not yet: it is spoken for. */
  tickled: boolean;
}

/**
 * Makes a scheduler with Xen's default policy, credit2 (`common/sched/credit2.c`), all processors on one run queue.
 *
 * Promises: units that always want to run share a processor by weight; a domain gets no more than its cap over
 * periods of 10 ms; a unit that wakes preempts at once one that has less credit and has run for the rate limit,
 * else as soon as it has; none starves.
 *
 * A unit burns credit while it runs, faster the less it weighs, and the unit with most credit runs. When even the best has
 * none left an epoch ends and all get 10 ms more; who slept cannot save more than half a millisecond on top of that, so that
 * a sleeper comes back with an advantage but not with a monopoly. A slice ends when the credit does, or equals that of
 * the next in the queue, but lasts from 0.5 ms (or the rate limit) to 10 ms.
 *
 * Differs from Xen: a wake during the rate limit is remembered and takes effect at its end, where Xen lets the slice
 * run out; a domain's budget is one pool that all its units draw on directly; no affinity, no load balancing
 * between run queues.
 *
 * Throws `OUT_OF_RANGE` when a number of `options` is.
 */
export function createCredit2Scheduler<U extends object>(options: Credit2Options): Scheduler<U> {
  return new Credit2<U>(options);
}

class Credit2<U extends object> implements Scheduler<U> {
  readonly policy = "credit2";
  readonly pcpus: number;
  private readonly tickle: (pcpu: number, delay: number) => void;
  private readonly rateLimit: number;
  private readonly processors: Pcpu<U>[];
  private readonly units = new Map<U, Credit2Unit<U>>();
  private readonly domains = new Map<DomId, Credit2Domain>();
  /** Units that wait for a processor, most credit first, of equals the one that waits longest. */
  private readonly queue: Credit2Unit<U>[] = [];
  private readonly time = new Time();
  private maxWeight = 1;

  constructor(options: Credit2Options) {
    this.pcpus = checkPcpus(options.pcpus ?? 1);
    this.tickle = options.tickle;
    this.rateLimit = options.rateLimit ?? 1_000_000;
    if (this.rateLimit !== 0 && !(this.rateLimit >= 100_000 && this.rateLimit <= 500_000_000)) {
      throw new ParavirtError("OUT_OF_RANGE", `rate limit ${this.rateLimit} ns is neither 0 nor 100000 to 500000000`);
    }
    this.processors = Array.from({ length: this.pcpus }, (_, index) => ({ index, current: undefined, tickled: false }));
  }

  insert(unit: U, domain: DomId, now: bigint): void {
    if (this.units.has(unit)) throw new ParavirtError("BAD_ARGUMENT", "the unit is in this credit2 scheduler already");
    const at = this.time.at(now);
    const owner = this.domain(domain, at);
    owner.units++;
    this.units.set(unit, {
      unit,
      domain: owner,
      account: new Account(at),
      credit: CREDIT_INIT,
      residual: 0,
      chargedUntil: at,
      startedAt: at,
      awake: false,
      queued: false,
      parked: false,
      yielding: false,
      onPcpu: false,
      pcpu: undefined,
      tickled: undefined,
    });
    this.settleWeights(at);
  }

  remove(unit: U, now: bigint): void {
    const found = this.find(unit);
    this.sleep(unit, now);
    if (found.onPcpu) this.processors[found.pcpu!]!.current = undefined;
    this.units.delete(unit);
    found.domain.units--;
    if (found.domain.units === 0) this.domains.delete(found.domain.id);
    this.settleWeights(this.time.at(now));
  }

  wake(unit: U, now: bigint): void {
    const found = this.find(unit);
    if (found.awake) return;
    const at = this.time.at(now);
    this.startPeriods(at);
    found.awake = true;
    if (found.onPcpu) {
      // Its processor has not been scheduled since it went to sleep: it just goes on.
      found.chargedUntil = at;
      found.account.enter("running", at);
      return;
    }
    this.makeReady(found, at);
  }

  sleep(unit: U, now: bigint): void {
    const found = this.find(unit);
    if (!found.awake) return;
    const at = this.time.at(now);
    if (found.onPcpu) {
      burn(found, this.maxWeight, at);
      this.tickleNow(this.processors[found.pcpu!]!);
    }
    if (found.queued) this.dequeue(found);
    found.awake = false;
    found.parked = false;
    found.yielding = false;
    found.account.enter("asleep", at);
  }

  yield(unit: U, now: bigint): void {
    const found = this.find(unit);
    this.time.at(now);
    if (!found.onPcpu || !found.awake) return;
    found.yielding = true;
    this.tickleNow(this.processors[found.pcpu!]!);
  }

  schedule(pcpu: number, now: bigint): Decision<U> {
    const processor = this.processors[pcpu] ?? noSuchPcpu(pcpu, this.pcpus);
    const at = this.time.at(now);
    // Before the periods that are due start: what was overrun counts against them.
    const current = processor.current;
    if (current?.awake) burn(current, this.maxWeight, at);
    processor.tickled = true; // A period that starts need not tickle the processor that is scheduling now.
    this.startPeriods(at);
    processor.tickled = false;
    if (current?.awake && outOfBudget(current)) this.park(current, at);
    const next = this.candidate(processor, at);
    if (next !== current) this.switchTo(processor, next, at);
    if (next === undefined) return { unit: undefined, slice: this.untilPeriod(at) };
    if (Math.max(next.credit, this.queue[0]?.credit ?? next.credit) <= CREDIT_RESET) this.startEpoch(next, at);
    const slice = Math.min(this.sliceOf(next, at), this.untilPeriod(at));
    // Only now, so that two units take turns of whole epochs instead of racing each other in slices of the shortest kind.
    if (current?.awake && current !== next && !current.parked) {
      this.enqueue(current);
      // It may be better placed on another processor.
      this.tickleFor(current, at, pcpu);
    }
    return { unit: next.unit, slice };
  }

  setDomain(domain: DomId, parameters: Partial<DomainParameters>, now: bigint): void {
    const known = this.domains.get(domain) ?? DEFAULTS;
    const { weight = known.weight, cap = known.cap } = parameters;
    if (!Number.isInteger(weight) || weight < 1 || weight > 65535) {
      throw new ParavirtError("OUT_OF_RANGE", `weight ${weight} of domain ${domain} is not 1 to 65535`);
    }
    if (!Number.isInteger(cap) || cap < 0 || cap > 65535) {
      throw new ParavirtError("OUT_OF_RANGE", `cap ${cap} of domain ${domain} is not 0 to 65535 percent`);
    }
    const at = this.time.at(now);
    const changed = this.domain(domain, at);
    // What was used so far is charged by the old rules.
    this.chargeAll(at);
    changed.weight = weight;
    if (cap !== changed.cap) {
      changed.cap = cap;
      changed.budget = periodBudget(changed);
      changed.nextPeriod = at + BUDGET_PERIOD;
      this.unpark(changed, at);
    }
    this.settleWeights(at);
    for (const processor of this.processors) if (processor.current !== undefined) this.tickleNow(processor);
  }

  domainParameters(domain: DomId): DomainParameters {
    const { weight, cap } = this.domains.get(domain) ?? DEFAULTS;
    return { weight, cap };
  }

  statistics(unit: U, now: bigint): UnitStatistics {
    const found = this.find(unit);
    const at = this.time.at(now);
    if (found.onPcpu && found.awake) burn(found, this.maxWeight, at);
    return found.account.report(at, found.pcpu, found.credit);
  }

  private find(unit: U): Credit2Unit<U> {
    return this.units.get(unit) ?? noSuchUnit(this.policy);
  }

  private domain(id: DomId, at: number): Credit2Domain {
    let domain = this.domains.get(id);
    if (domain === undefined) {
      domain = { id, ...DEFAULTS, units: 0, budget: 0, nextPeriod: at + BUDGET_PERIOD };
      this.domains.set(id, domain);
    }
    return domain;
  }

  private chargeAll(at: number): void {
    for (const { current } of this.processors) if (current?.awake) burn(current, this.maxWeight, at);
  }

  /** Credit is measured in time of the greatest weight that there is. */
  private settleWeights(at: number): void {
    this.chargeAll(at);
    let greatest = 1;
    for (const domain of this.domains.values()) if (domain.units > 0) greatest = Math.max(greatest, domain.weight);
    this.maxWeight = greatest;
  }

  private enqueue(unit: Credit2Unit<U>): void {
    let place = this.queue.length;
    while (place > 0 && this.queue[place - 1]!.credit < unit.credit) place--;
    this.queue.splice(place, 0, unit);
    unit.queued = true;
  }

  private dequeue(unit: Credit2Unit<U>): void {
    this.queue.splice(this.queue.indexOf(unit), 1);
    unit.queued = false;
  }

  /** Queues a unit that can run, or parks it when its domain's cap forbids. */
  private makeReady(unit: Credit2Unit<U>, at: number): void {
    unit.tickled = undefined;
    if (outOfBudget(unit)) {
      this.park(unit, at);
      // Even an idle processor must come back when the period starts.
      for (const processor of this.processors) this.tickle(processor.index, this.untilPeriod(at));
      return;
    }
    unit.account.enter("runnable", at);
    this.enqueue(unit);
    this.tickleFor(unit, at, undefined);
  }

  private park(unit: Credit2Unit<U>, at: number): void {
    if (unit.queued) this.dequeue(unit);
    unit.parked = true;
    unit.account.enter("parked", at);
  }

  private unpark(domain: Credit2Domain, at: number): void {
    for (const unit of this.units.values()) {
      if (!unit.parked || unit.domain !== domain) continue;
      unit.parked = false;
      this.makeReady(unit, at);
    }
  }

  private startPeriods(at: number): void {
    for (const domain of this.domains.values()) {
      if (domain.cap === 0 || at < domain.nextPeriod) continue;
      // What its units ran in the period that ends belongs to that period.
      for (const { current } of this.processors) {
        if (current?.awake && current.domain === domain) burn(current, this.maxWeight, at);
      }
      replenish(domain, at);
      if (domain.budget > 0) this.unpark(domain, at);
    }
  }

  /** Nanoseconds to the next period of a domain that has parked units. */
  private untilPeriod(at: number): number {
    let soonest = Number.POSITIVE_INFINITY;
    for (const unit of this.units.values()) {
      if (unit.parked) soonest = Math.min(soonest, unit.domain.nextPeriod - at);
    }
    return soonest;
  }

  private candidate(processor: Pcpu<U>, at: number): Credit2Unit<U> | undefined {
    const { current } = processor;
    const incumbent = current?.awake && !current.parked ? current : undefined;
    const yielding = incumbent?.yielding === true;
    if (incumbent !== undefined) {
      incumbent.yielding = false;
      if (!yielding && at - incumbent.startedAt < this.rateLimit) return incumbent;
    }
    const toBeat = incumbent?.credit ?? Number.NEGATIVE_INFINITY;
    for (const unit of [...this.queue]) {
      // Another processor was tickled for it and is about to take it.
      if (unit.tickled !== undefined && unit.tickled !== processor.index && this.processors[unit.tickled]!.tickled)
        continue;
      if (outOfBudget(unit)) {
        this.park(unit, at);
        continue;
      }
      if (unit.pcpu !== undefined && unit.pcpu !== processor.index && toBeat + MIGRATE_RESIST > unit.credit) continue;
      return yielding || unit.credit > toBeat ? unit : incumbent;
    }
    return incumbent;
  }

  private switchTo(processor: Pcpu<U>, next: Credit2Unit<U> | undefined, at: number): void {
    const { current } = processor;
    if (current !== undefined) {
      current.onPcpu = false;
      if (current.awake && !current.parked) {
        current.tickled = undefined;
        current.account.enter("runnable", at);
      }
    }
    if (next !== undefined) {
      this.dequeue(next);
      if (next.pcpu !== undefined && next.pcpu !== processor.index) next.credit += MIGRATE_COMPENSATION;
      next.pcpu = processor.index;
      next.onPcpu = true;
      next.tickled = undefined;
      next.startedAt = at;
      next.chargedUntil = at;
      next.account.enter("running", at);
      next.account.dispatches++;
    }
    processor.current = next;
  }

  private startEpoch(next: Credit2Unit<U>, at: number): void {
    this.chargeAll(at);
    const credit = epochCredit(next);
    for (const unit of this.units.values()) renew(unit, credit);
  }

  private sliceOf(unit: Credit2Unit<U>, at: number): number {
    const shortest = Math.max(MIN_TIMER, unit.startedAt + this.rateLimit - at);
    const waiting = this.queue[0];
    const spare = waiting !== undefined && waiting.credit > 0 ? unit.credit - waiting.credit : unit.credit;
    let slice = spare > 0 ? timeFor(spare, unit, this.maxWeight) : 0;
    if (unit.domain.cap !== 0) {
      const sharing = this.processors.filter(({ current }) => current?.domain === unit.domain).length;
      slice = Math.min(slice, unit.domain.budget / Math.max(1, sharing));
    }
    return Math.min(Math.max(Math.ceil(slice), shortest), Math.max(MAX_TIMER, shortest));
  }

  private tickleNow(processor: Pcpu<U>): void {
    if (processor.tickled) return;
    processor.tickled = true;
    this.tickle(processor.index, 0);
  }

  /**
   * Finds a processor for a unit that just came into the queue: an idle one, else the one that it ran on last if it has
   * more credit than who runs there, else the one with most to gain.
   */
  private tickleFor(unit: Credit2Unit<U>, at: number, except: number | undefined): void {
    const open = this.processors.filter(({ index, tickled }) => !tickled && index !== except);
    const home = open.find(({ index }) => index === unit.pcpu);
    const idle = open.filter(({ current }) => current === undefined);
    const vacant = home !== undefined && idle.includes(home) ? home : idle[0];
    if (vacant !== undefined) {
      unit.tickled = vacant.index;
      this.tickleNow(vacant);
      return;
    }
    const gain = (processor: Pcpu<U>): number => {
      const current = processor.current!;
      burn(current, this.maxWeight, at);
      const moves = unit.pcpu !== undefined && unit.pcpu !== processor.index;
      return unit.credit - current.credit - (moves ? MIGRATE_RESIST : 0);
    };
    let best: Pcpu<U> | undefined;
    if (home !== undefined && gain(home) > 0) best = home;
    else {
      let most = 0;
      for (const processor of open) {
        const gained = gain(processor);
        if (gained > most) [best, most] = [processor, gained];
      }
    }
    if (best === undefined) return;
    const left = best.current!.startedAt + this.rateLimit - at;
    if (left >= RATELIMIT_TOLERANCE) {
      this.tickle(best.index, left);
      return;
    }
    unit.tickled = best.index;
    this.tickleNow(best);
  }
}
