import { type DomId, ParavirtError } from "@paravirt/core";
import { Account, checkPcpus, noSuchPcpu, noSuchUnit, Time } from "./account.ts";
import type { Decision, DomainParameters, Scheduler, SchedulerOptions, UnitStatistics } from "./scheduler.ts";

interface NullUnit<U> {
  readonly unit: U;
  readonly account: Account;
  awake: boolean;
  /** The processor that is this unit's alone. */
  pcpu: number | undefined;
}

/**
 * Makes a scheduler that gives each unit a processor of its own, as Xen's null (`common/sched/null.c`).
 *
 * Promises: a unit that has a processor keeps it until it is removed, runs there whenever it wants and is never
 * preempted; a slice never ends. A unit for which no processor is left does not run at all, not even while others
 * sleep, until one is removed; the one that was inserted first comes first.
 *
 * For machines where there are no more units than processors: it decides nothing, and so costs next to nothing.
 * Weights and caps are refused with `UNSUPPORTED`; a yield has no effect.
 */
export function createNullScheduler<U extends object>(options: SchedulerOptions): Scheduler<U> {
  return new Null<U>(options);
}

class Null<U extends object> implements Scheduler<U> {
  readonly policy = "null";
  readonly pcpus: number;
  private readonly tickle: (pcpu: number, delay: number) => void;
  private readonly owners: (NullUnit<U> | undefined)[];
  private readonly units = new Map<U, NullUnit<U>>();
  private readonly waiting: NullUnit<U>[] = [];
  private readonly time = new Time();

  constructor(options: SchedulerOptions) {
    this.pcpus = checkPcpus(options.pcpus ?? 1);
    this.tickle = options.tickle;
    this.owners = Array.from({ length: this.pcpus }, () => undefined);
  }

  insert(unit: U, _domain: DomId, now: bigint): void {
    if (this.units.has(unit)) throw new ParavirtError("BAD_ARGUMENT", "the unit is in this null scheduler already");
    const fresh: NullUnit<U> = { unit, account: new Account(this.time.at(now)), awake: false, pcpu: undefined };
    this.units.set(unit, fresh);
    const free = this.owners.indexOf(undefined);
    if (free === -1) this.waiting.push(fresh);
    else this.assign(fresh, free);
  }

  remove(unit: U, now: bigint): void {
    const found = this.find(unit);
    this.time.at(now);
    this.units.delete(unit);
    const { pcpu } = found;
    if (pcpu === undefined) {
      this.waiting.splice(this.waiting.indexOf(found), 1);
      return;
    }
    this.owners[pcpu] = undefined;
    const next = this.waiting.shift();
    if (next !== undefined) this.assign(next, pcpu);
    if (found.awake || next?.awake) this.tickle(pcpu, 0);
  }

  wake(unit: U, now: bigint): void {
    const found = this.find(unit);
    if (found.awake) return;
    found.awake = true;
    found.account.enter("runnable", this.time.at(now));
    if (found.pcpu !== undefined) this.tickle(found.pcpu, 0);
  }

  sleep(unit: U, now: bigint): void {
    const found = this.find(unit);
    if (!found.awake) return;
    found.awake = false;
    found.account.enter("asleep", this.time.at(now));
    if (found.pcpu !== undefined) this.tickle(found.pcpu, 0);
  }

  yield(unit: U, now: bigint): void {
    this.find(unit);
    this.time.at(now);
  }

  schedule(pcpu: number, now: bigint): Decision<U> {
    if (!(pcpu in this.owners)) noSuchPcpu(pcpu, this.pcpus);
    const at = this.time.at(now);
    const owner = this.owners[pcpu];
    if (!owner?.awake) return { unit: undefined, slice: Number.POSITIVE_INFINITY };
    if (owner.account.state !== "running") {
      owner.account.enter("running", at);
      owner.account.dispatches++;
    }
    return { unit: owner.unit, slice: Number.POSITIVE_INFINITY };
  }

  setDomain(domain: DomId, parameters: Partial<DomainParameters>, _now: bigint): void {
    const [name] = Object.keys(parameters);
    if (name === undefined) return;
    throw new ParavirtError("UNSUPPORTED", `the null scheduler has no ${name}, asked for domain ${domain}`);
  }

  domainParameters(_domain: DomId): DomainParameters {
    return { weight: 256, cap: 0 };
  }

  statistics(unit: U, now: bigint): UnitStatistics {
    const found = this.find(unit);
    return found.account.report(this.time.at(now), found.pcpu, undefined);
  }

  private find(unit: U): NullUnit<U> {
    return this.units.get(unit) ?? noSuchUnit(this.policy);
  }

  private assign(unit: NullUnit<U>, pcpu: number): void {
    unit.pcpu = pcpu;
    this.owners[pcpu] = unit;
  }
}
