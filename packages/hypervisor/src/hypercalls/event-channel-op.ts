import { DOMID, EVTCHNOP, EVTCHNSTAT, HYPERVISOR, layout, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Domain } from "../domain.ts";
import type { Channel } from "../event-channels.ts";
import type { Hypercall, HypercallContext, Operation } from "../hypercall.ts";

const allocUnbound = layout("evtchn_alloc_unbound", "x86_64");
const bindInterdomain = layout("evtchn_bind_interdomain", "x86_64");
const bindVirq = layout("evtchn_bind_virq", "x86_64");
const bindPirq = layout("evtchn_bind_pirq", "x86_64");
const bindIpi = layout("evtchn_bind_ipi", "x86_64");
const close = layout("evtchn_close", "x86_64");
const send = layout("evtchn_send", "x86_64");
const status = layout("evtchn_status", "x86_64");
const bindVcpu = layout("evtchn_bind_vcpu", "x86_64");
const unmask = layout("evtchn_unmask", "x86_64");
const reset = layout("evtchn_reset", "x86_64");
const initControl = layout("evtchn_init_control", "x86_64");
const expandArray = layout("evtchn_expand_array", "x86_64");
const setPriority = layout("evtchn_set_priority", "x86_64");

const { EFAULT, EINVAL, ENOSYS, EPERM, ESRCH } = XEN_ERRNO;

/** The domain that a request may be about: only the caller itself, for a domU. */
function subject(call: HypercallContext, domid: number): Domain | number {
  if (domid === DOMID.SELF) return call.domain;
  const named = call.machine.domain(domid);
  if (named === undefined) return -ESRCH;
  return named === call.domain ? named : -EPERM;
}

function answerStatus(call: HypercallContext, address: bigint): number {
  const request = call.fetch(status, address);
  if (request === undefined) return -EFAULT;
  const domain = subject(call, request.dom);
  if (typeof domain === "number") return domain;
  const channel = domain.events.at(request.port);
  if (channel === undefined) return -EINVAL;
  const stored = call.put(status, address, {
    status: Math.max(channel.state, EVTCHNSTAT.closed),
    vcpu: channel.vcpu,
    u: describe(channel),
  });
  return stored ? 0 : -EFAULT;
}

function describe(channel: Channel) {
  switch (channel.state) {
    case EVTCHNSTAT.unbound:
      return { unbound: { dom: channel.remoteDomain } };
    case EVTCHNSTAT.interdomain:
      return { interdomain: { dom: channel.remoteDomain, port: channel.remotePort } };
    case EVTCHNSTAT.virq:
      return { virq: channel.virq };
    default:
      return {};
  }
}

/** One operation, its argument at a guest address: 0 or `-errno`. */
export function performEventChannelOp(call: HypercallContext, command: number, address: bigint): number {
  const { events } = call.domain;
  switch (command) {
    case EVTCHNOP.send:
      // The most frequent one: no object for it.
      return call.load(address, send.size) ? events.send(call.view.getUint32(0, true)) : -EFAULT;
    case EVTCHNOP.unmask:
      return call.load(address, unmask.size) ? events.unmask(call.view.getUint32(0, true)) : -EFAULT;
    case EVTCHNOP.alloc_unbound: {
      const request = call.fetch(allocUnbound, address);
      if (request === undefined) return -EFAULT;
      const domain = subject(call, request.dom);
      if (typeof domain === "number") return domain;
      return withPort(
        call,
        allocUnbound.offsets.port,
        allocUnbound.size,
        address,
        domain.events.allocateUnbound(request.remote_dom),
      );
    }
    case EVTCHNOP.bind_interdomain: {
      const request = call.fetch(bindInterdomain, address);
      if (request === undefined) return -EFAULT;
      const remote = request.remote_dom === DOMID.SELF ? call.domain : call.machine.domain(request.remote_dom);
      if (remote === undefined) return -ESRCH;
      const port = events.bindInterdomain(remote, request.remote_port);
      return withPort(call, bindInterdomain.offsets.local_port, bindInterdomain.size, address, port);
    }
    case EVTCHNOP.bind_virq: {
      const request = call.fetch(bindVirq, address);
      if (request === undefined) return -EFAULT;
      return withPort(call, bindVirq.offsets.port, bindVirq.size, address, events.bindVirq(request.virq, request.vcpu));
    }
    case EVTCHNOP.bind_ipi: {
      const request = call.fetch(bindIpi, address);
      if (request === undefined) return -EFAULT;
      return withPort(call, bindIpi.offsets.port, bindIpi.size, address, events.bindIpi(request.vcpu));
    }
    case EVTCHNOP.bind_pirq:
      return call.load(address, bindPirq.size) ? -EPERM : -EFAULT;
    case EVTCHNOP.close:
      return call.load(address, close.size) ? events.close(call.view.getUint32(0, true)) : -EFAULT;
    case EVTCHNOP.status:
      return answerStatus(call, address);
    case EVTCHNOP.bind_vcpu: {
      const request = call.fetch(bindVcpu, address);
      return request === undefined ? -EFAULT : events.bindVcpu(request.port, request.vcpu);
    }
    case EVTCHNOP.reset: {
      const request = call.fetch(reset, address);
      if (request === undefined) return -EFAULT;
      const domain = subject(call, request.dom);
      if (typeof domain === "number") return domain;
      domain.events.reset();
      return 0;
    }
    case EVTCHNOP.init_control: {
      const request = call.fetch(initControl, address);
      if (request === undefined) return -EFAULT;
      const result = events.initControl(request.control_gfn, request.offset, request.vcpu);
      if (result !== 0) return result;
      return call.put(initControl, address, { link_bits: 17 }) ? 0 : -EFAULT;
    }
    case EVTCHNOP.expand_array: {
      const request = call.fetch(expandArray, address);
      return request === undefined ? -EFAULT : events.expandArray(request.array_gfn);
    }
    case EVTCHNOP.set_priority: {
      const request = call.fetch(setPriority, address);
      return request === undefined ? -EFAULT : events.setPriority(request.port, request.priority);
    }
    default:
      return -ENOSYS;
  }
}

/** Writes a new port into the request and answers 0, or passes the errno on. */
function withPort(call: HypercallContext, offset: number, size: number, address: bigint, port: number): number {
  if (port < 0) return port;
  call.view.setUint32(offset, port, true);
  if (call.store(address, size)) return 0;
  // Xen closes what it could not tell the guest about.
  call.domain.events.close(port);
  return -EFAULT;
}

const full = (number: number, name: string, note?: string): Operation =>
  note === undefined ? { number, name, support: "full" } : { number, name, support: "full", note };

const operations: readonly Operation[] = [
  full(EVTCHNOP.bind_interdomain, "bind_interdomain"),
  full(EVTCHNOP.bind_virq, "bind_virq"),
  full(EVTCHNOP.bind_pirq, "bind_pirq", "-EPERM: a domU has no interrupt lines."),
  full(EVTCHNOP.close, "close"),
  full(EVTCHNOP.send, "send"),
  full(EVTCHNOP.status, "status"),
  full(EVTCHNOP.alloc_unbound, "alloc_unbound"),
  full(EVTCHNOP.bind_ipi, "bind_ipi"),
  full(EVTCHNOP.bind_vcpu, "bind_vcpu"),
  full(EVTCHNOP.unmask, "unmask"),
  full(EVTCHNOP.reset, "reset"),
  full(EVTCHNOP.init_control, "init_control"),
  full(EVTCHNOP.expand_array, "expand_array"),
  full(EVTCHNOP.set_priority, "set_priority"),
];

/** Makes, binds, closes and raises event channels. */
export const eventChannelOp: Hypercall = {
  number: HYPERVISOR.event_channel_op,
  name: "event_channel_op",
  support: "full",
  operations,
  handle: (call) => performEventChannelOp(call, call.s32(0), call.arg(1)),
};
