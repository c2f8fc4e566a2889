import type { Clock, DomId } from "@paravirt/core";
import type { Hypervisor, SchedulerPort, VirtualCpu } from "@paravirt/hypervisor";
import type { Scheduler } from "@paravirt/scheduler";
import { isVirtualClock } from "./clock.ts";
import { hostYield } from "./host-yield.ts";

/** Milliseconds of guest time between two turns of the host's event loop. */
const HOST_SLICE = 4;
/** Nanoseconds that one call into the engine should take: timers are looked at between calls. */
const RUN_TARGET = 1_000_000;
const MIN_BUDGET = 20_000;
const MAX_BUDGET = 4_000_000;
/** With a virtual clock budgets must not depend on the host: a millisecond of instructions. */
const VIRTUAL_BUDGET = 1_000_000;
const PCPU = 0;
/** Longest sleep that setTimeout keeps exactly. */
const MAX_SLEEP_MS = 0x7fffffff;

/**
 * The machine loop: runs the VCPU that the scheduler names for its slice, then timers and event listeners, and gives the
 * host's event loop a turn every few milliseconds. An idle machine sleeps until its next timer or {@link MachineLoop.kick}.
 */
export class MachineLoop implements SchedulerPort {
  private readonly clock: Clock;
  private readonly hostScheduler: Scheduler<VirtualCpu>;
  private hypervisor: Hypervisor | undefined;
  /** VCPUs of domains that exist: a domain's end may come in the middle of a turn. */
  private readonly known = new Set<VirtualCpu>();
  private closed = false;
  private started = false;
  /** A tickle asks for another decision at this time. */
  private reschedule: bigint | undefined;
  /** The VCPU that the scheduler named last, while it may go on. */
  private current: VirtualCpu | undefined;
  /** The end of its slice; when there is none, the time at which the scheduler may name one, as when a cap's period ends. */
  private decideAt: bigint | undefined;
  private wakeUp: (() => void) | undefined;
  private budget = 200_000;
  /** Called with what went wrong in the loop itself; the machine is unusable then. */
  onFailure: ((error: unknown) => void) | undefined;

  constructor(clock: Clock, createScheduler: (tickle: (pcpu: number, delay: number) => void) => Scheduler<VirtualCpu>) {
    this.clock = clock;
    this.hostScheduler = createScheduler((_pcpu, delay) => {
      const at = this.clock.now() + BigInt(Math.round(delay));
      if (this.reschedule === undefined || at < this.reschedule) this.reschedule = at;
    });
  }

  /** Gives the loop its hypervisor, once. */
  attach(hypervisor: Hypervisor): void {
    this.hypervisor = hypervisor;
  }

  /** Takes a domain's VCPUs in. */
  insert(vcpus: readonly VirtualCpu[], domain: DomId, parameters: { weight?: number; cap?: number }): void {
    const now = this.clock.now();
    for (const vcpu of vcpus) {
      this.hostScheduler.insert(vcpu, domain, now);
      this.known.add(vcpu);
    }
    if (parameters.weight !== undefined || parameters.cap !== undefined)
      this.hostScheduler.setDomain(domain, parameters, now);
  }

  /** Lets a domain's VCPUs go. */
  remove(vcpus: readonly VirtualCpu[]): void {
    for (const vcpu of vcpus) {
      if (this.current === vcpu) this.current = undefined;
      if (this.known.delete(vcpu)) this.hostScheduler.remove(vcpu, this.clock.now());
    }
  }

  /** Nanoseconds that a VCPU has run. */
  timeOf(vcpu: VirtualCpu): number {
    return this.hostScheduler.statistics(vcpu, this.clock.now()).ran;
  }

  wake(vcpu: VirtualCpu): void {
    if (!this.known.has(vcpu)) return;
    this.hostScheduler.wake(vcpu, this.clock.now());
    this.kick();
  }

  sleep(vcpu: VirtualCpu): void {
    if (this.current === vcpu) this.current = undefined;
    if (!this.known.has(vcpu)) return;
    this.hostScheduler.sleep(vcpu, this.clock.now());
  }

  /** Something outside happened: an idle loop looks again. Starts the loop when it is the first thing to happen. */
  kick(): void {
    this.wakeUp?.();
    if (this.started || this.closed || this.hypervisor === undefined) return;
    this.started = true;
    this.run().catch((error) => this.onFailure?.(error));
  }

  /** Ends the loop for good. */
  close(): void {
    this.closed = true;
    this.wakeUp?.();
  }

  private async run(): Promise<void> {
    // The caller of kick finishes first.
    await hostYield();
    while (!this.closed) {
      const until = performance.now() + HOST_SLICE;
      let busy = true;
      while (busy && !this.closed && performance.now() < until) busy = this.turn();
      if (this.closed) return;
      if (busy) await hostYield();
      else await this.idle();
    }
  }

  /** Timers, listeners, and about a millisecond of the VCPU whose slice it is; `false` when nothing can run. */
  private turn(): boolean {
    const hypervisor = this.hypervisor!;
    hypervisor.runTimers();
    hypervisor.runListeners();
    const unit = this.unitToRun();
    if (unit === undefined) return hypervisor.listenersWaiting;
    const reason = this.runOnce(hypervisor, unit);
    if (reason === "budget" || reason === "notified") return true;
    this.current = undefined;
    // A listener of the host may have destroyed the domain meanwhile.
    if (!this.known.has(unit)) return true;
    if (reason === "yielded") this.hostScheduler.yield(unit, this.clock.now());
    else this.sleep(unit);
    return true;
  }

  /**
   * The VCPU whose slice it is, or the scheduler's next. The host's turns don't end a slice: what the scheduler decides
   * must depend on the machine's time alone.
   */
  private unitToRun(): VirtualCpu | undefined {
    const now = this.clock.now();
    const due = (time: bigint | undefined): boolean => time !== undefined && now >= time;
    if (this.current !== undefined && !due(this.decideAt) && !due(this.reschedule)) return this.current;
    this.reschedule = undefined;
    const { unit, slice } = this.hostScheduler.schedule(PCPU, now);
    this.current = unit;
    this.decideAt = slice === Number.POSITIVE_INFINITY ? undefined : now + BigInt(Math.ceil(slice));
    return unit;
  }

  private runOnce(hypervisor: Hypervisor, vcpu: VirtualCpu) {
    const { clock } = this;
    if (isVirtualClock(clock)) {
      const reason = hypervisor.runVcpu(vcpu, VIRTUAL_BUDGET);
      clock.advance(hypervisor.engine.stats.instructions);
      return reason;
    }
    const before = performance.now();
    const reason = hypervisor.runVcpu(vcpu, this.budget);
    const nanoseconds = (performance.now() - before) * 1e6;
    if (reason === "budget" && nanoseconds > 0) {
      const wanted = (this.budget * RUN_TARGET) / nanoseconds;
      this.budget = Math.round(Math.min(MAX_BUDGET, Math.max(MIN_BUDGET, (this.budget + wanted) / 2)));
    }
    return reason;
  }

  /** Waits for the next timer, the scheduler's next decision, or a kick. */
  private async idle(): Promise<void> {
    const timer = this.hypervisor!.nextDeadline();
    const { decideAt } = this;
    const deadline = decideAt !== undefined && (timer < 0n || decideAt < timer) ? decideAt : timer;
    const { clock } = this;
    if (isVirtualClock(clock) && deadline >= 0n) {
      clock.skipTo(deadline);
      await hostYield();
      return;
    }
    const wait = deadline < 0n ? undefined : Number(deadline - clock.now()) / 1e6;
    if (wait !== undefined && wait <= 0) return hostYield();
    let woken = false;
    await new Promise<void>((resolve) => {
      const sleep = wait === undefined ? undefined : setTimeout(resolve, Math.min(MAX_SLEEP_MS, Math.ceil(wait)));
      this.wakeUp = () => {
        woken = true;
        if (sleep !== undefined) clearTimeout(sleep);
        resolve();
      };
    });
    this.wakeUp = undefined;
    // What the host has for a guest often comes in pieces, a callback each: the guest wakes up once for all that are there.
    if (woken) await hostYield();
  }
}
