import type { DomId } from "@paravirt/core";
import type { Account } from "./account.ts";

/** Credit that a unit gets when an epoch starts, in nanoseconds of a unit of the greatest weight. */
export const CREDIT_INIT = 10_000_000;
/** An epoch ends when no unit that wants to run has more credit than this. */
export const CREDIT_RESET = 0;
/** Debt below this is forgiven: one slice that came out too long must not silence a unit for many epochs. */
export const CREDIT_MIN: number = -CREDIT_INIT;
/** Slices are no shorter than this, in nanoseconds. */
export const MIN_TIMER = 500_000;
/** Slices are no longer than this. */
export const MAX_TIMER: number = CREDIT_INIT;
/** Credit left over from an epoch that a unit may take into the next. */
export const CARRYOVER_MAX: number = MIN_TIMER;
/** A unit changes the processor only for this much more credit. */
export const MIGRATE_RESIST = 500_000;
/** Credit that a unit gets for its cold caches when it does. */
export const MIGRATE_COMPENSATION = 50_000;
/** A unit that has almost run its rate limit may be interrupted. */
export const RATELIMIT_TOLERANCE = 50_000;
/** Capped domains get their budget anew once in so many nanoseconds. */
export const BUDGET_PERIOD = 10_000_000;

/** A domain as credit2 keeps it. */
export interface Credit2Domain {
  readonly id: DomId;
  weight: number;
  cap: number;
  units: number;
  /** Nanoseconds that a capped domain may still run in this period; below zero when it overran. */
  budget: number;
  /** When a capped domain's next period starts. */
  nextPeriod: number;
}

/** A unit as credit2 keeps it. */
export interface Credit2Unit<U> {
  readonly unit: U;
  readonly domain: Credit2Domain;
  readonly account: Account;
  credit: number;
  /** What division left over at the last charge, so that no time is lost however short the slices. */
  residual: number;
  /** Charged for up to here. */
  chargedUntil: number;
  /** When it was put on its processor. */
  startedAt: number;
  awake: boolean;
  queued: boolean;
  parked: boolean;
  yielding: boolean;
  /** Sits on a processor now; it may have gone to sleep there already. */
  onPcpu: boolean;
  /** That processor, or the last one. */
  pcpu: number | undefined;
  /** The processor that was tickled for it. */
  tickled: number | undefined;
}

/** Charges `unit` for the time it ran up to `now`: the greatest weight at par, others the more the less they weigh. */
export function burn(unit: Credit2Unit<unknown>, maxWeight: number, now: number): void {
  const ran = now - unit.chargedUntil;
  if (ran <= 0) return;
  unit.chargedUntil = now;
  const { domain } = unit;
  if (domain.cap !== 0) domain.budget -= ran;
  // More than this empties any account: the product below stays exact however late the call comes.
  const charged = Math.min(ran, 3 * CREDIT_INIT) * maxWeight + unit.residual;
  unit.residual = charged % domain.weight;
  unit.credit = Math.max(unit.credit - Math.floor(charged / domain.weight), CREDIT_MIN);
}

/** Nanoseconds that `unit` can run for `credit`. */
export function timeFor(credit: number, unit: Credit2Unit<unknown>, maxWeight: number): number {
  return Math.floor((credit * unit.domain.weight) / maxWeight);
}

/** Credit that a new epoch brings to each unit, so that `next`, the best of all, has some. */
export function epochCredit(next: Credit2Unit<unknown>): number {
  return next.credit === CREDIT_MIN ? 2 * CREDIT_INIT : CREDIT_INIT;
}

/** Starts a new epoch for `unit`: it gets `credit`, but what it saved counts little. */
export function renew(unit: Credit2Unit<unknown>, credit: number): void {
  unit.credit = Math.min(unit.credit + credit, CREDIT_INIT + CARRYOVER_MAX);
}

/** Nanoseconds that a capped domain gets each period. */
export function periodBudget(domain: Credit2Domain): number {
  return Math.floor((BUDGET_PERIOD * domain.cap) / 100);
}

/** Tells whether the cap of `unit`'s domain holds it back now. */
export function outOfBudget(unit: Credit2Unit<unknown>): boolean {
  return unit.domain.cap !== 0 && unit.domain.budget <= 0;
}

/** Starts the periods that are due; what was not used is lost, what was overrun is not. */
export function replenish(domain: Credit2Domain, now: number): void {
  const periods = Math.floor((now - domain.nextPeriod) / BUDGET_PERIOD) + 1;
  domain.nextPeriod += periods * BUDGET_PERIOD;
  domain.budget = Math.min(domain.budget + periods * periodBudget(domain), periodBudget(domain));
}
