import { SHUTDOWN, VIRQ } from "@paravirt/xen-abi";
import type { Domain } from "./domain.ts";
import { NEVER, type VirtualCpu } from "./virtual-cpu.ts";

/** Earliest clock time at which a timer of `domain` is due, or {@link NEVER}. */
export function domainDeadline(domain: Domain): bigint {
  let earliest = NEVER;
  if (!domain.running) return earliest;
  for (const deadline of domain.watchdogs) earliest = sooner(earliest, deadline);
  for (const vcpu of domain.vcpus) {
    if (vcpu.down) continue;
    earliest = sooner(earliest, vcpu.singleshot);
    earliest = sooner(earliest, vcpu.pollDeadline);
    earliest = sooner(earliest, periodicDeadline(vcpu));
  }
  return earliest;
}

/** The sooner of two deadlines of which either may be {@link NEVER}. */
export function sooner(a: bigint, b: bigint): bigint {
  if (a === NEVER) return b;
  if (b === NEVER) return a;
  return a < b ? a : b;
}

// Xen's periodic timer only ticks while its VCPU runs, and is a VIRQ only where the guest bound it.
function periodicDeadline(vcpu: VirtualCpu): bigint {
  if (vcpu.period === 0n || vcpu.blocked || vcpu.virqPorts[VIRQ.TIMER] === 0) return NEVER;
  return vcpu.periodicLast + vcpu.period;
}

/** Fires the timers of `domain` that are due at `now`. */
export function runDomainTimers(domain: Domain, now: bigint): void {
  if (!domain.running) return;
  if (domain.watchdogs.some((deadline) => deadline !== NEVER && deadline <= now)) {
    domain.shutDown(SHUTDOWN.watchdog);
    return;
  }
  for (const vcpu of domain.vcpus) {
    if (vcpu.down) continue;
    if (vcpu.singleshot !== NEVER && vcpu.singleshot <= now) {
      vcpu.singleshot = NEVER;
      domain.events.raiseVirq(vcpu, VIRQ.TIMER);
    }
    if (vcpu.pollDeadline !== NEVER && vcpu.pollDeadline <= now) vcpu.unblock();
    const tick = periodicDeadline(vcpu);
    if (tick !== NEVER && tick <= now) {
      // As Xen's vcpu_periodic_timer_work: ticks that were missed are not made up.
      vcpu.periodicLast = now;
      domain.events.raiseVirq(vcpu, VIRQ.TIMER);
    }
  }
}
