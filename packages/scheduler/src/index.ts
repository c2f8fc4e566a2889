/**
 * VCPU schedulers behind one interface: credit2, which shares processors by weight, and null, which gives each VCPU its own.
 * @packageDocumentation
 */
export { type Credit2Options, createCredit2Scheduler } from "./credit2.ts";
export { createNullScheduler } from "./null.ts";
export type {
  Decision,
  DomainParameters,
  Scheduler,
  SchedulerOptions,
  UnitState,
  UnitStatistics,
} from "./scheduler.ts";
