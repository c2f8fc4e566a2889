import { EVTCHNOP, HYPERVISOR, layout, RUNSTATE, SCHEDOP, VCPUOP, VIRQ, XENPVCLOCK } from "@paravirt/xen-abi";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { ARGUMENTS, at, FakeGuest, type TestClock, testHypervisor } from "../test/fake-guest.ts";
import { tscAt, tscScale } from "./pv-time.ts";

let guest: FakeGuest;
let clock: TestClock;
beforeEach(() => {
  const hypervisor = testHypervisor();
  clock = hypervisor.clock;
  guest = new FakeGuest(hypervisor);
});

describe("the scale", () => {
  test("at 1 GHz a tick is a nanosecond, exactly", () => {
    expect(tscScale(1_000_000)).toEqual({ khz: 1_000_000, multiplier: 0x80000000, shift: 1 });
    expect(tscAt(tscScale(1_000_000), 123_456_789n)).toBe(123_456_789n);
  });

  test("gives back the time of any counter to a millionth, as the guest computes it", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1000, max: 10_000_000 }), fc.bigInt({ min: 0n, max: 10n ** 13n }), (khz, ns) => {
        const scale = tscScale(khz);
        expect(scale.multiplier).toBeGreaterThanOrEqual(2 ** 31);
        expect(scale.multiplier).toBeLessThan(2 ** 32);
        const ticks = tscAt(scale, ns);
        const shifted = scale.shift >= 0 ? ticks << BigInt(scale.shift) : ticks >> BigInt(-scale.shift);
        const back = (shifted * BigInt(scale.multiplier)) >> 32n;
        const error = back > ns ? back - ns : ns - back;
        // A tick may last up to a microsecond.
        expect(error <= ns / 1_000_000n + 1_000_000n / BigInt(khz) + 3n).toBe(true);
      }),
    );
  });

  test("0 kHz and more than 10 GHz are refused", () => {
    expect(() => tscScale(0)).toThrow("0 kHz");
    expect(() => tscScale(10_000_001)).toThrow("10000001 kHz");
  });
});

describe("shared time", () => {
  test("is valid before the first instruction", () => {
    const { memory } = guest.hypervisor;
    const shared = layout("shared_info", "x86_64").read(memory.view, guest.domain.sharedInfoAt);
    expect(shared.wc_version).toBe(2);
    expect([shared.wc_sec, shared.wc_nsec, shared.wc_sec_hi]).toEqual([1_795_478_400, 500_000_000, 0]);
    const time = shared.vcpu_info[0]?.time;
    expect(time).toMatchObject({
      version: 2,
      tsc_to_system_mul: 0x80000000,
      tsc_shift: 1,
      system_time: clock.time,
      tsc_timestamp: clock.time,
      flags: XENPVCLOCK.TSC_STABLE_BIT,
    });
  });

  test("a domain may live at another date", () => {
    const late = new FakeGuest(guest.hypervisor, { timeOffsetSeconds: 2 ** 33 });
    const shared = layout("shared_info", "x86_64").read(guest.hypervisor.memory.view, late.domain.sharedInfoAt);
    expect(shared.wc_sec_hi).toBe(2);
  });
});

describe("timers", () => {
  function bindTimer(): number {
    guest.put(new Uint8Array(16));
    layout("evtchn_bind_virq", "x86_64").write(guest.view(ARGUMENTS), 0, { virq: VIRQ.TIMER, vcpu: 0 });
    expect(guest.call(HYPERVISOR.event_channel_op, EVTCHNOP.bind_virq, at(ARGUMENTS))).toBe(0n);
    return guest.view(ARGUMENTS).getUint32(8, true);
  }
  const pending = (port: number): boolean => guest.domain.events.abi.isPending(guest.domain.events.at(port) as never);

  test("the singleshot timer raises VIRQ_TIMER once, and wakes a blocked VCPU", () => {
    guest.call(HYPERVISOR.vcpu_op, VCPUOP.stop_periodic_timer, 0, 0);
    const port = bindTimer();
    guest.put(new Uint8Array(16));
    layout("vcpu_set_singleshot_timer", "x86_64").write(guest.view(ARGUMENTS), 0, {
      timeout_abs_ns: clock.time + 1000n,
      flags: 1,
    });
    expect(guest.call(HYPERVISOR.vcpu_op, VCPUOP.set_singleshot_timer, 0, at(ARGUMENTS))).toBe(0n);
    guest.queueCall(HYPERVISOR.sched_op, SCHEDOP.block);
    expect(guest.hypervisor.runVcpu(guest.vcpu, 100)).toBe("blocked");
    expect(guest.hypervisor.nextDeadline()).toBe(clock.time + 1000n);
    clock.time += 999n;
    guest.hypervisor.runTimers();
    expect(guest.vcpu.runnable).toBe(false);
    clock.time += 1n;
    guest.hypervisor.runTimers();
    expect(guest.vcpu.runnable).toBe(true);
    expect(pending(port)).toBe(true);
    expect(guest.hypervisor.nextDeadline()).toBe(-1n);
  });

  test("the periodic timer ticks at 100 Hz while the VCPU runs, without making up for missed ticks", () => {
    const port = bindTimer();
    clock.time += 10_000_000n;
    guest.hypervisor.runTimers();
    expect(pending(port)).toBe(true);
    guest.domain.clearEventBits();
    clock.time += 9_999_999n;
    guest.hypervisor.runTimers();
    expect(pending(port)).toBe(false);
    clock.time += 100_000_000n;
    guest.hypervisor.runTimers();
    expect(pending(port)).toBe(true);
    guest.domain.clearEventBits();
    guest.hypervisor.runTimers();
    expect(pending(port)).toBe(false);
  });

  test("set_periodic_timer takes a millisecond at least", () => {
    const period = (ns: bigint): bigint => {
      guest.put(new Uint8Array(8));
      guest.view(ARGUMENTS).setBigUint64(0, ns, true);
      return guest.call(HYPERVISOR.vcpu_op, VCPUOP.set_periodic_timer, 0, at(ARGUMENTS));
    };
    expect(period(999_999n)).toBe(-22n);
    expect(period(1_000_000n)).toBe(0n);
    expect(period(2n ** 63n)).toBe(-22n);
  });

  test("set_timer_op in the past comes in 100 ms", () => {
    expect(guest.call(HYPERVISOR.set_timer_op, 2n ** 60n)).toBe(0n);
    expect(guest.vcpu.singleshot).toBe(clock.time + 100_000_000n);
    expect(guest.call(HYPERVISOR.set_timer_op, 0)).toBe(0n);
    expect(guest.vcpu.singleshot).toBe(-1n);
  });

  test("a watchdog that is not fed ends the domain", () => {
    const watchdog = (id: number, timeout: number): bigint => {
      guest.put(new Uint8Array(8));
      layout("sched_watchdog", "x86_64").write(guest.view(ARGUMENTS), 0, { id, timeout });
      return guest.call(HYPERVISOR.sched_op, SCHEDOP.watchdog, at(ARGUMENTS));
    };
    expect(watchdog(0, 2)).toBe(1n);
    expect(watchdog(2, 2)).toBe(-22n);
    expect(watchdog(1, 5)).toBe(0n);
    clock.time += 4_000_000_000n;
    guest.hypervisor.runTimers();
    expect(guest.domain.running).toBe(true);
    clock.time += 1_000_000_000n;
    guest.hypervisor.runTimers();
    expect(guest.domain.shutdown).toEqual({ reason: 4 });
  });
});

describe("runstate", () => {
  test("counts where the time went, and shows it in the guest's area", () => {
    guest.put(new Uint8Array(64));
    guest.view(ARGUMENTS).setBigUint64(0, at(20, 8), true);
    expect(guest.call(HYPERVISOR.vcpu_op, VCPUOP.register_runstate_memory_area, 0, at(ARGUMENTS))).toBe(0n);
    guest.queueCall(HYPERVISOR.sched_op, SCHEDOP.block);
    guest.hypervisor.runVcpu(guest.vcpu, 100);
    expect(guest.vcpu.runstate).toBe(RUNSTATE.blocked);
    clock.time += 500n;
    guest.vcpu.markEventsPending();
    expect(guest.vcpu.runstate).toBe(RUNSTATE.runnable);
    clock.time += 300n;
    guest.vcpu.upcallMasked = true;
    guest.hypervisor.runVcpu(guest.vcpu, 1);
    const area = layout("vcpu_runstate_info", "x86_64").read(guest.view(20), 8);
    expect(area.state).toBe(RUNSTATE.running);
    expect(area.state_entry_time).toBe(clock.time);
    expect(area.time[RUNSTATE.blocked]).toBe(500n);
    expect(area.time[RUNSTATE.runnable]).toBe(300n);
  });
});
