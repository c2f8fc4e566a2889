import type { DomId } from "@paravirt/core";

/** How a domain's units share processors. */
export interface DomainParameters {
  /** Share of the processors relative to others, for each unit of the domain: 1 to 65535, 256 when never set. */
  readonly weight: number;
  /** Percent of one processor that the domain's units may use together, 0 for no limit: 0 to 65535. */
  readonly cap: number;
}

/**
 * What a unit is doing: `running` on a processor, `runnable` and waiting for one, `parked` because its domain used up
 * its cap, or `asleep` until the next wake.
 */
export type UnitState = "running" | "runnable" | "parked" | "asleep";

/** What a unit has had so far. Durations are in nanoseconds. */
export interface UnitStatistics {
  /** What it is doing now. */
  readonly state: UnitState;
  /** The processor it runs on, or ran on last; `undefined` before its first dispatch. */
  readonly pcpu: number | undefined;
  /** Time that it ran. */
  readonly ran: number;
  /** Time that it was runnable and waited for a processor. */
  readonly waited: number;
  /** Time that its domain's cap held it back. */
  readonly parked: number;
  /** How often it was put on a processor. */
  readonly dispatches: number;
  /** What it may still run before others of its weight, in credit2; `undefined` in policies without credit. */
  readonly credit: number | undefined;
}

/** What {@link Scheduler.schedule} decided. */
export interface Decision<U> {
  /** The unit to run, or `undefined` when the processor has nothing to do. */
  readonly unit: U | undefined;
  /**
   * Nanoseconds after which {@link Scheduler.schedule} must be called for this processor again, unless a tickle asks
   * for it earlier. `Infinity` when only a tickle can change the decision.
   */
  readonly slice: number;
}

/**
 * Decides which unit, a VCPU as a rule, runs on which processor. Knows nothing of what a unit is: any object will do.
 *
 * Time comes in with each call, in nanoseconds since the machine started; a call with an earlier time than the one
 * before counts as one at that time. The same calls at the same times give the same decisions. Nothing is called back
 * but {@link SchedulerOptions.tickle}.
 *
 * Every function that names a unit throws `BAD_ARGUMENT` when the unit was never inserted, and every one that names a
 * processor when there is no such processor.
 */
export interface Scheduler<U extends object> {
  /** The policy: `"credit2"` or `"null"`. */
  readonly policy: string;
  /** Number of processors; they are numbered from 0. */
  readonly pcpus: number;
  /** Adds `unit`, asleep, to `domain`. Throws `BAD_ARGUMENT` when it is there already. */
  insert(unit: U, domain: DomId, now: bigint): void;
  /** Takes `unit` out, whatever it does; with its last unit a domain's parameters are forgotten. */
  remove(unit: U, now: bigint): void;
  /** Makes `unit` runnable; does nothing when it is. */
  wake(unit: U, now: bigint): void;
  /** Makes `unit` wait for the next wake, on its own behalf or another's; does nothing when it waits already. */
  sleep(unit: U, now: bigint): void;
  /** Lets others run before `unit` once, at the next {@link Scheduler.schedule}, whatever their credit. */
  yield(unit: U, now: bigint): void;
  /**
   * Decides what processor `pcpu` runs from `now` on. The unit it ran until now, if any, is charged for its time.
   * To be called at first, at the end of each slice, when the unit stops by itself, and when tickled.
   */
  schedule(pcpu: number, now: bigint): Decision<U>;
  /**
   * Sets the parameters of `domain` that are given, also before its first unit. Throws `OUT_OF_RANGE` when one is, and
   * `UNSUPPORTED` when the policy has no such parameter.
   */
  setDomain(domain: DomId, parameters: Partial<DomainParameters>, now: bigint): void;
  /** Tells the parameters of `domain`; the default ones when none were set. */
  domainParameters(domain: DomId): DomainParameters;
  /** Tells what `unit` has had up to `now`. */
  statistics(unit: U, now: bigint): UnitStatistics;
}

/** What every scheduler is made with. */
export interface SchedulerOptions {
  /** Number of processors: 1 to 4096, 1 when left out. */
  readonly pcpus?: number;
  /**
   * Called when processor `pcpu` should call {@link Scheduler.schedule} again `delay` nanoseconds from now rather than at
   * the end of its slice. It must not call the scheduler itself.
   */
  readonly tickle: (pcpu: number, delay: number) => void;
}
