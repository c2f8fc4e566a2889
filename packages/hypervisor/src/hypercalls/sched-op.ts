import { DOMID, HYPERVISOR, layout, SCHEDOP, XEN_ERRNO } from "@paravirt/xen-abi";
import { guestLoad } from "../guest-memory.ts";
import type { Hypercall, HypercallContext } from "../hypercall.ts";
import { NEVER, type VirtualCpu } from "../virtual-cpu.ts";

const shutdown = layout("sched_shutdown", "x86_64");
const poll = layout("sched_poll", "x86_64");
const remoteShutdown = layout("sched_remote_shutdown", "x86_64");
const watchdog = layout("sched_watchdog", "x86_64");
/** Ports that one SCHEDOP_poll may wait for. */
const MAX_POLL_PORTS = 128;

function eventsWaiting(vcpu: VirtualCpu): boolean {
  return vcpu.upcallPending && !vcpu.upcallMasked;
}

/** Sleeps until an event comes; unmasks events first, so that none is missed. */
export function block(vcpu: VirtualCpu): number {
  vcpu.upcallMasked = false;
  if (!eventsWaiting(vcpu)) vcpu.blocked = true;
  return 0;
}

function pollPorts(call: HypercallContext): number {
  const { vcpu, domain } = call;
  const request = call.fetch(poll, call.arg(1));
  if (request === undefined) return -XEN_ERRNO.EFAULT;
  const count = request.nr_ports;
  if (count > MAX_POLL_PORTS) return -XEN_ERRNO.EINVAL;
  if (eventsWaiting(vcpu)) return 0;
  if (!guestLoad(vcpu, request.ports, call.bytes, count * 4)) return -XEN_ERRNO.EFAULT;
  const ports: number[] = [];
  for (let i = 0; i < count; i++) {
    const port = call.view.getUint32(i * 4, true);
    const channel = domain.events.at(port);
    if (channel === undefined) return -XEN_ERRNO.EINVAL;
    if (domain.events.abi.isPending(channel)) return 0;
    ports.push(port);
  }
  vcpu.pollPorts = ports;
  vcpu.pollDeadline = request.timeout === 0n ? NEVER : request.timeout;
  vcpu.blocked = true;
  return 0;
}

function setWatchdog(call: HypercallContext): number {
  const request = call.fetch(watchdog, call.arg(1));
  if (request === undefined) return -XEN_ERRNO.EFAULT;
  const { watchdogs } = call.domain;
  const { id, timeout } = request;
  if (id > watchdogs.length) return -XEN_ERRNO.EINVAL;
  const deadline = call.machine.clock.now() + BigInt(timeout) * 1_000_000_000n;
  if (id === 0) {
    if (timeout === 0) return -XEN_ERRNO.EINVAL;
    const free = watchdogs.indexOf(NEVER);
    if (free < 0) return -XEN_ERRNO.ENOSPC;
    watchdogs[free] = deadline;
    return free + 1;
  }
  if (watchdogs[id - 1] === NEVER) return -XEN_ERRNO.EINVAL;
  watchdogs[id - 1] = timeout === 0 ? NEVER : deadline;
  return 0;
}

/** Gives the processor up, and ends the domain. */
export const schedOp: Hypercall = {
  number: HYPERVISOR.sched_op,
  name: "sched_op",
  support: "full",
  operations: [
    { number: SCHEDOP.yield, name: "yield", support: "full" },
    { number: SCHEDOP.block, name: "block", support: "full" },
    { number: SCHEDOP.shutdown, name: "shutdown", support: "full" },
    { number: SCHEDOP.poll, name: "poll", support: "full" },
    { number: SCHEDOP.remote_shutdown, name: "remote_shutdown", support: "full", note: "-EPERM for a domU." },
    { number: SCHEDOP.shutdown_code, name: "shutdown_code", support: "full" },
    { number: SCHEDOP.watchdog, name: "watchdog", support: "full" },
    { number: SCHEDOP.pin_override, name: "pin_override", support: "full", note: "-EPERM for a domU." },
  ],
  handle(call) {
    const { vcpu, domain } = call;
    switch (call.s32(0)) {
      case SCHEDOP.yield:
        vcpu.yielded = true;
        return 0;
      case SCHEDOP.block:
        return block(vcpu);
      case SCHEDOP.shutdown: {
        const request = call.fetch(shutdown, call.arg(1));
        if (request === undefined) return -XEN_ERRNO.EFAULT;
        domain.guestShutDown(vcpu, request.reason & 0xff);
        return 0;
      }
      case SCHEDOP.poll:
        return pollPorts(call);
      case SCHEDOP.remote_shutdown: {
        const request = call.fetch(remoteShutdown, call.arg(1));
        if (request === undefined) return -XEN_ERRNO.EFAULT;
        const { domain_id: id } = request;
        return id !== DOMID.SELF && call.machine.domain(id) === undefined ? -XEN_ERRNO.ESRCH : -XEN_ERRNO.EPERM;
      }
      case SCHEDOP.shutdown_code: {
        const request = call.fetch(shutdown, call.arg(1));
        if (request === undefined) return -XEN_ERRNO.EFAULT;
        domain.shutdownCode = request.reason & 0xff;
        return 0;
      }
      case SCHEDOP.watchdog:
        return setWatchdog(call);
      case SCHEDOP.pin_override:
        return -XEN_ERRNO.EPERM;
      default:
        return -XEN_ERRNO.ENOSYS;
    }
  },
};
