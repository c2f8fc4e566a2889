import { ParavirtError } from "@paravirt/core";
import type { UnitState, UnitStatistics } from "./scheduler.ts";

/** A unit's time sheet: how long it was in which state. */
export class Account {
  state: UnitState = "asleep";
  dispatches = 0;
  private since: number;
  private readonly total: Record<UnitState, number> = { running: 0, runnable: 0, parked: 0, asleep: 0 };

  constructor(now: number) {
    this.since = now;
  }

  /** Books the time since the last change and goes over to `state`. */
  enter(state: UnitState, now: number): void {
    this.total[this.state] += now - this.since;
    this.since = now;
    this.state = state;
  }

  /** Sums up to `now` without changing anything. */
  report(now: number, pcpu: number | undefined, credit: number | undefined): UnitStatistics {
    const until = (state: UnitState): number => this.total[state] + (this.state === state ? now - this.since : 0);
    return {
      state: this.state,
      pcpu,
      ran: until("running"),
      waited: until("runnable"),
      parked: until("parked"),
      dispatches: this.dispatches,
      credit,
    };
  }
}

/** The machine's time as numbers, which are exact to the nanosecond for 104 days and to two for 104 more. */
export class Time {
  private latest = 0;

  /** Takes in the time of a call; an earlier one than before counts as that. */
  at(now: bigint): number {
    this.latest = Math.max(this.latest, Number(now));
    return this.latest;
  }
}

/** Checks the number of processors that a scheduler is asked to serve. */
export function checkPcpus(pcpus: number): number {
  if (!Number.isInteger(pcpus) || pcpus < 1 || pcpus > 4096) {
    throw new ParavirtError("OUT_OF_RANGE", `${pcpus} processors asked for; a scheduler serves 1 to 4096`);
  }
  return pcpus;
}

/** Throws for a processor that does not exist. */
export function noSuchPcpu(pcpu: number, pcpus: number): never {
  throw new ParavirtError("BAD_ARGUMENT", `processor ${pcpu} asked for; there are ${pcpus}, from 0`);
}

/** Throws for a unit that was never inserted. */
export function noSuchUnit(policy: string): never {
  throw new ParavirtError("BAD_ARGUMENT", `the unit was never inserted into this ${policy} scheduler`);
}
