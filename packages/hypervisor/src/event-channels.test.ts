import { EVTCHNOP, EVTCHNSTAT, HYPERVISOR, layout, SCHEDOP, type StructName, VIRQ } from "@paravirt/xen-abi";
import { beforeEach, describe, expect, test } from "vitest";
import { ARGUMENTS, at, FakeGuest, testHypervisor } from "../test/fake-guest.ts";
import { SHARED_INFO, VCPU_INFO } from "./abi.ts";
import type { HostChannel } from "./index.ts";

let guest: FakeGuest;

/** Issues an event_channel_op and answers the result and the structure afterwards. */
function op(
  who: FakeGuest,
  command: number,
  name: StructName,
  fields: object,
): { result: number; after: Record<string, unknown> } {
  const shape = layout(name, "x86_64");
  who.put(new Uint8Array(64));
  shape.write(who.view(ARGUMENTS), 0, fields as never);
  const result = Number(who.call(HYPERVISOR.event_channel_op, command, at(ARGUMENTS)));
  return { result, after: shape.read(who.view(ARGUMENTS), 0) as Record<string, unknown> };
}

const ipi = (who = guest): number => op(who, EVTCHNOP.bind_ipi, "evtchn_bind_ipi", { vcpu: 0 }).after.port as number;
const send = (port: number, who = guest): number => op(who, EVTCHNOP.send, "evtchn_send", { port }).result;

beforeEach(() => {
  guest = new FakeGuest(testHypervisor());
});

describe("ports", () => {
  test("are numbered from 1, and one that was closed is used again", () => {
    expect([ipi(), ipi(), ipi()]).toEqual([1, 2, 3]);
    expect(op(guest, EVTCHNOP.close, "evtchn_close", { port: 2 }).result).toBe(0);
    expect(op(guest, EVTCHNOP.close, "evtchn_close", { port: 2 }).result).toBe(-22);
    expect(ipi()).toBe(2);
  });

  test("end where the domain's limit is", () => {
    const small = new FakeGuest(guest.hypervisor, { maxEventChannels: 3 });
    expect([ipi(small), ipi(small), ipi(small)]).toEqual([1, 2, 3]);
    expect(op(small, EVTCHNOP.bind_ipi, "evtchn_bind_ipi", { vcpu: 0 }).result).toBe(-28);
  });

  test.each([
    ["send to port 0", EVTCHNOP.send, "evtchn_send", { port: 0 }, -22],
    ["send to a port that does not exist", EVTCHNOP.send, "evtchn_send", { port: 99 }, -22],
    ["close port 0", EVTCHNOP.close, "evtchn_close", { port: 0 }, -22],
    ["an IPI of a VCPU that does not exist", EVTCHNOP.bind_ipi, "evtchn_bind_ipi", { vcpu: 5 }, -2],
    ["a VIRQ of a VCPU that does not exist", EVTCHNOP.bind_virq, "evtchn_bind_virq", { virq: 0, vcpu: 5 }, -2],
    ["VIRQ 24", EVTCHNOP.bind_virq, "evtchn_bind_virq", { virq: 24, vcpu: 0 }, -22],
    ["a domain's VIRQ on VCPU 1", EVTCHNOP.bind_virq, "evtchn_bind_virq", { virq: VIRQ.DOM_EXC, vcpu: 1 }, -22],
    [
      "bind_interdomain to nobody",
      EVTCHNOP.bind_interdomain,
      "evtchn_bind_interdomain",
      { remote_dom: 77, remote_port: 1 },
      -3,
    ],
    ["bind_pirq", EVTCHNOP.bind_pirq, "evtchn_bind_pirq", { pirq: 1 }, -1],
    ["status of another domain's port", EVTCHNOP.status, "evtchn_status", { dom: 77, port: 1 }, -3],
    ["set_priority without FIFO", EVTCHNOP.set_priority, "evtchn_set_priority", { port: 0, priority: 1 }, -38],
    ["expand_array without FIFO", EVTCHNOP.expand_array, "evtchn_expand_array", { array_gfn: 1 }, -95],
    ["an operation that does not exist", 99, "evtchn_send", { port: 1 }, -38],
  ] as const)("%s", (_name, command, name, fields, errno) => {
    expect(op(guest, command, name, fields).result).toBe(errno);
  });

  test("a VIRQ is bound once per VCPU", () => {
    expect(op(guest, EVTCHNOP.bind_virq, "evtchn_bind_virq", { virq: VIRQ.TIMER, vcpu: 0 }).result).toBe(0);
    expect(op(guest, EVTCHNOP.bind_virq, "evtchn_bind_virq", { virq: VIRQ.TIMER, vcpu: 0 }).result).toBe(-17);
    const { after } = op(guest, EVTCHNOP.status, "evtchn_status", { dom: 0x7ff0, port: 1 });
    expect(after).toMatchObject({ status: EVTCHNSTAT.virq, vcpu: 0 });
  });
});

describe("the 2-level ABI", () => {
  const pendingWord = (): bigint =>
    guest.hypervisor.memory.view.getBigUint64(guest.domain.sharedInfoAt + SHARED_INFO.evtchnPending, true);

  test("a sent event sets pending, selector and upcall bits", () => {
    const port = ipi();
    expect(send(port)).toBe(0);
    expect(pendingWord()).toBe(1n << BigInt(port));
    const info = layout("vcpu_info", "x86_64").read(guest.hypervisor.memory.view, guest.vcpu.infoAt);
    expect(info).toMatchObject({ evtchn_upcall_pending: 1, evtchn_pending_sel: 1n });
  });

  test("a masked one only sets pending, and is told when it is unmasked", () => {
    const port = ipi();
    guest.hypervisor.memory.view.setUint8(guest.domain.sharedInfoAt + SHARED_INFO.evtchnMask, 1 << port);
    send(port);
    expect(guest.vcpu.upcallPending).toBe(false);
    expect(op(guest, EVTCHNOP.unmask, "evtchn_unmask", { port }).result).toBe(0);
    expect(guest.vcpu.upcallPending).toBe(true);
  });

  test("wakes a VCPU that blocks, and block unmasks", () => {
    const port = ipi();
    const woken: number[] = [];
    guest = new FakeGuest(testHypervisor({ scheduler: { wake: (vcpu) => woken.push(vcpu.id), sleep() {} } }));
    expect(ipi()).toBe(port);
    guest.vcpu.upcallMasked = true;
    guest.queueCall(HYPERVISOR.sched_op, SCHEDOP.block, 0);
    expect(guest.hypervisor.runVcpu(guest.vcpu, 100)).toBe("blocked");
    expect(guest.vcpu.upcallMasked).toBe(false);
    woken.length = 0;
    guest.domain.events.raise(port);
    expect(woken).toEqual([0]);
    expect(guest.vcpu.runnable).toBe(true);
  });
});

describe("between domains", () => {
  test("bind_interdomain connects both ends, and closing one leaves the other unbound", () => {
    const other = new FakeGuest(guest.hypervisor);
    const { after } = op(guest, EVTCHNOP.alloc_unbound, "evtchn_alloc_unbound", {
      dom: 0x7ff0,
      remote_dom: other.domain.id,
    });
    const port = after.port as number;
    const bound = op(other, EVTCHNOP.bind_interdomain, "evtchn_bind_interdomain", {
      remote_dom: guest.domain.id,
      remote_port: port,
    });
    expect(bound.result).toBe(0);
    const remote = bound.after.local_port as number;
    other.hypervisor.memory.bytes[other.vcpu.infoAt + VCPU_INFO.upcallPending] = 0;
    other.domain.clearEventBits();
    expect(send(port)).toBe(0);
    expect(other.domain.events.abi.isPending(other.domain.events.at(remote) as never)).toBe(true);
    op(other, EVTCHNOP.close, "evtchn_close", { port: remote });
    expect(guest.domain.events.at(port)).toMatchObject({ state: EVTCHNSTAT.unbound, remoteDomain: other.domain.id });
    expect(send(port)).toBe(0);
  });

  test("a port meant for another domain cannot be bound", () => {
    const other = new FakeGuest(guest.hypervisor);
    const { after } = op(guest, EVTCHNOP.alloc_unbound, "evtchn_alloc_unbound", { dom: 0x7ff0, remote_dom: 0 });
    const bound = op(other, EVTCHNOP.bind_interdomain, "evtchn_bind_interdomain", {
      remote_dom: guest.domain.id,
      remote_port: after.port,
    });
    expect(bound.result).toBe(-22);
  });

  test("a destroyed domain leaves its peers unbound", () => {
    const other = new FakeGuest(guest.hypervisor);
    const { after } = op(guest, EVTCHNOP.alloc_unbound, "evtchn_alloc_unbound", {
      dom: 0x7ff0,
      remote_dom: other.domain.id,
    });
    op(other, EVTCHNOP.bind_interdomain, "evtchn_bind_interdomain", {
      remote_dom: guest.domain.id,
      remote_port: after.port,
    });
    guest.hypervisor.destroyDomain(other.domain);
    expect(guest.domain.events.at(after.port as number)?.state).toBe(EVTCHNSTAT.unbound);
    expect(guest.hypervisor.domain(other.domain.id)).toBeUndefined();
  });
});

describe("the host's end", () => {
  test("hears what the guest sends, outside the hypercall, and raises events in the guest", () => {
    const port = guest.domain.events.allocateUnbound(0);
    let heard = 0;
    const host = guest.domain.events.bindHost(port, () => heard++) as HostChannel;
    // Binding counts as a notification, as on Xen.
    guest.hypervisor.runListeners();
    expect(heard).toBe(1);
    expect(send(port)).toBe(0);
    expect(send(port)).toBe(0);
    expect(heard).toBe(1);
    guest.hypervisor.runListeners();
    expect(heard).toBe(2);
    host.notify();
    expect(guest.vcpu.upcallPending).toBe(true);
    expect(op(guest, EVTCHNOP.status, "evtchn_status", { dom: 0x7ff0, port }).after).toMatchObject({
      status: EVTCHNSTAT.interdomain,
    });
  });

  test("a guest that slept for an answer has the next fifteen before it goes on; one that goes on has none", () => {
    const { hypervisor, vcpu, domain } = guest;
    const port = domain.events.allocateUnbound(0);
    domain.events.bindHost(port, () => {});
    hypervisor.runListeners();
    const sendAndRun = (...then: (() => void)[]): string => {
      guest.put(new Uint8Array(8));
      guest.view(ARGUMENTS).setUint32(0, port, true);
      guest.queueCall(HYPERVISOR.event_channel_op, EVTCHNOP.send, at(ARGUMENTS));
      for (const queue of then) queue();
      const reason = hypervisor.runVcpu(vcpu, 1000);
      hypervisor.runListeners();
      return reason;
    };
    const sleep = (): void => guest.queueCall(HYPERVISOR.sched_op, SCHEDOP.block);
    expect([sendAndRun(), sendAndRun()]).toEqual(["budget", "budget"]);
    expect(sendAndRun(sleep)).toBe("blocked");
    vcpu.unblock();
    const reasons = Array.from({ length: 17 }, () => sendAndRun());
    expect(reasons).toEqual([...Array.from({ length: 15 }, () => "notified"), "budget", "budget"]);
    expect(sendAndRun(sleep)).toBe("blocked");
    vcpu.unblock();
    expect(sendAndRun(sleep)).toBe("notified");
    expect(hypervisor.runVcpu(vcpu, 1000)).toBe("blocked");
  });

  test("is closed by either side", () => {
    const port = guest.domain.events.allocateUnbound(0);
    const host = guest.domain.events.bindHost(port, () => {}) as HostChannel;
    expect(guest.domain.events.bindHost(port, () => {})).toBe(-22);
    host.close();
    expect(host.open).toBe(false);
    const again = guest.domain.events.bindHost(port, () => {}) as HostChannel;
    expect(again.open).toBe(true);
    op(guest, EVTCHNOP.close, "evtchn_close", { port });
    expect(again.open).toBe(false);
    again.notify();
    expect(guest.domain.running).toBe(true);
  });
});

describe("the FIFO ABI", () => {
  const CONTROL = 20;
  const ARRAY = 21;
  const word = (port: number): number => guest.view(ARRAY).getUint32(port * 4, true);
  const PENDING = 2 ** 31;
  const MASKED = 2 ** 30;
  const LINKED = 2 ** 29;

  function init(): void {
    const control = op(guest, EVTCHNOP.init_control, "evtchn_init_control", {
      control_gfn: guest.frames[CONTROL],
      offset: 0,
      vcpu: 0,
    });
    expect(control.result).toBe(0);
    expect(control.after.link_bits).toBe(17);
    expect(op(guest, EVTCHNOP.expand_array, "evtchn_expand_array", { array_gfn: guest.frames[ARRAY] }).result).toBe(0);
  }

  /** The ports of a queue, taken as Linux takes them. */
  function consume(priority: number): number[] {
    const control = guest.view(CONTROL);
    const array = guest.view(ARRAY);
    const ports: number[] = [];
    let port = control.getUint32(8 + priority * 4, true);
    while (port !== 0) {
      ports.push(port);
      const value = array.getUint32(port * 4, true);
      array.setUint32(port * 4, value & ~(LINKED | PENDING | 0x1ffff), true);
      port = value & 0x1ffff;
    }
    control.setUint32(0, control.getUint32(0, true) & ~(1 << priority), true);
    control.setUint32(8 + priority * 4, 0, true);
    return ports;
  }

  test("links ports in the order in which they were raised", () => {
    init();
    const ports = [ipi(), ipi(), ipi()];
    for (const port of [ports[2], ports[0], ports[1], ports[0]]) send(port as number);
    expect(guest.view(CONTROL).getUint32(0, true)).toBe(1 << 7);
    expect(guest.vcpu.upcallPending).toBe(true);
    expect(consume(7)).toEqual([ports[2], ports[0], ports[1]]);
    send(ports[1] as number);
    expect(consume(7)).toEqual([ports[1]]);
  });

  test("a masked port is pending but not linked, until it is unmasked", () => {
    init();
    const port = ipi();
    guest.view(ARRAY).setUint32(port * 4, MASKED, true);
    send(port);
    expect(word(port)).toBe(PENDING + MASKED);
    op(guest, EVTCHNOP.unmask, "evtchn_unmask", { port });
    expect(word(port)).toBe(PENDING + LINKED);
  });

  test("priorities have queues of their own, and a port that moves leaves the old one", () => {
    init();
    const [first, second] = [ipi(), ipi()];
    expect(op(guest, EVTCHNOP.set_priority, "evtchn_set_priority", { port: first, priority: 0 }).result).toBe(0);
    expect(op(guest, EVTCHNOP.set_priority, "evtchn_set_priority", { port: first, priority: 16 }).result).toBe(-22);
    send(second);
    send(first);
    expect(guest.view(CONTROL).getUint32(0, true)).toBe((1 << 7) | 1);
    expect(consume(0)).toEqual([first]);
    expect(consume(7)).toEqual([second]);
    op(guest, EVTCHNOP.set_priority, "evtchn_set_priority", { port: first, priority: 7 });
    send(first);
    send(second);
    expect(consume(7)).toEqual([first, second]);
  });

  test("what was pending before is raised when the array comes", () => {
    const port = ipi();
    send(port);
    init();
    expect(consume(7)).toEqual([port]);
  });

  test.each([
    ["a VCPU that does not exist", { vcpu: 9 }, -2],
    ["an offset past the page", { offset: 4032 }, -22],
    ["an offset that is not aligned", { offset: 4 }, -22],
    ["a frame that isn't its own", { control_gfn: 1 }, -22],
  ])("init_control with %s", (_name, change, errno) => {
    const fields = { control_gfn: guest.frames[CONTROL], offset: 0, vcpu: 0, ...change };
    expect(op(guest, EVTCHNOP.init_control, "evtchn_init_control", fields).result).toBe(errno);
  });

  test("links that the guest made up harm only the guest", () => {
    init();
    const [first, second] = [ipi(), ipi()];
    send(first);
    guest.page(ARRAY).fill(0xff);
    guest.page(CONTROL).fill(0xff);
    for (let i = 0; i < 10; i++) send(i % 2 === 0 ? first : second);
    op(guest, EVTCHNOP.unmask, "evtchn_unmask", { port: first });
    expect(guest.domain.running).toBe(true);
  });

  test("reset goes back to the 2-level ABI", () => {
    init();
    ipi();
    expect(op(guest, EVTCHNOP.reset, "evtchn_reset", { dom: 0x7ff0 }).result).toBe(0);
    expect(ipi()).toBe(1);
    expect(send(1)).toBe(0);
    expect(guest.hypervisor.memory.view.getUint8(guest.domain.sharedInfoAt + SHARED_INFO.evtchnPending)).toBe(2);
  });
});

describe("SCHEDOP_poll", () => {
  test("waits for its ports with events masked, until one comes or the time is over", () => {
    const port = ipi();
    const poll = (timeout: bigint): string => {
      guest.put(new Uint8Array(64));
      layout("sched_poll", "x86_64").write(guest.view(ARGUMENTS), 0, {
        ports: at(ARGUMENTS, 32),
        nr_ports: 1,
        timeout,
      });
      guest.view(ARGUMENTS).setUint32(32, port, true);
      guest.queueCall(HYPERVISOR.sched_op, SCHEDOP.poll, at(ARGUMENTS));
      return guest.hypervisor.runVcpu(guest.vcpu, 100);
    };
    guest.vcpu.upcallMasked = true;
    expect(poll(0n)).toBe("blocked");
    guest.domain.events.raise(port);
    expect(guest.vcpu.runnable).toBe(true);
    // Still pending: returns at once.
    expect(poll(0n)).toBe("budget");
    guest.domain.clearEventBits();
    expect(poll(guest.hypervisor.clock.now() + 500n)).toBe("blocked");
    expect(guest.hypervisor.nextDeadline()).toBe(1_000_500n);
    (guest.hypervisor.clock as { time: bigint } & typeof guest.hypervisor.clock).time += 500n;
    guest.hypervisor.runTimers();
    expect(guest.vcpu.runnable).toBe(true);
  });
});
