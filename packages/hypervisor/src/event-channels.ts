import { DOMID, EVTCHN_FIFO, EVTCHNSTAT, NR_VIRQS, VIRQ, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Domain } from "./domain.ts";
import { FifoEvents } from "./event-fifo.ts";
import { TwoLevelEvents } from "./event-two-level.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

/** How pending events are shown to the guest: one of Xen's two ABIs. */
export interface EventAbi {
  /** Number of ports the ABI can address. */
  readonly maxPorts: number;
  /** Marks `channel` pending and tells its VCPU where the ABI calls for it. */
  setPending(channel: Channel): void;
  /** Forgets that `channel` is pending. */
  clearPending(channel: Channel): void;
  /** Unmasks `channel`, and tells its VCPU if it is pending. */
  unmask(channel: Channel): void;
  /** Whether `channel` is pending. */
  isPending(channel: Channel): boolean;
  /** Whether the guest masked `channel`. */
  isMasked(channel: Channel): boolean;
}

/** One event channel of a domain. Plain data, so that a domain can be written down. */
export interface Channel {
  /** Its number in the domain. */
  readonly port: number;
  /** An `EVTCHNSTAT`, or -1 for port 0, which is reserved. */
  state: number;
  /** VCPU that is told. */
  vcpu: number;
  /** FIFO priority, 0 (first) to 15. */
  priority: number;
  /** Pending while no FIFO array page existed for the port. */
  latched: boolean;
  /** Peer of an interdomain channel, or who may bind an unbound one. */
  remoteDomain: number;
  /** Port of the peer, of an interdomain channel. */
  remotePort: number;
  /** VIRQ number of a VIRQ channel. */
  virq: number;
  /** FIFO queue that the word was last linked into. */
  lastVcpu: number;
  /** Priority of that queue. */
  lastPriority: number;
  /** The host's end, when the peer is a backend outside any guest. */
  host: HostChannel | undefined;
}

/** The host's end of an event channel: what a device backend holds. */
export interface HostChannel {
  /** Port number in the guest. */
  readonly port: number;
  /** Raises the event in the guest. Does nothing after the channel was closed by either side. */
  notify(): void;
  /** Unbinds the host's end; the guest's port stays, unbound, as when a real backend closes. */
  close(): void;
  /** Whether both ends are still bound. */
  readonly open: boolean;
}

/** What the host's end of a channel does when the guest sends. Runs from `Hypervisor.runListeners`, never inside a hypercall. */
export type HostListener = () => void;

/** Sends that are answered at once before a guest's behaviour is looked at again. */
const PROMPT_ANSWERS = 15;
const DEFAULT_PRIORITY = EVTCHN_FIFO.PRIORITY_DEFAULT;
/** State of port 0, which no guest may use. Xen's ECS_RESERVED; EVTCHNOP_status calls it closed. */
export const RESERVED = -1;
/** VIRQ_TIMER, VIRQ_DEBUG, VIRQ_XENOPROF, VIRQ_XENPMU belong to a VCPU; the others to the domain (VCPU 0). */
const PER_VCPU_VIRQS: ReadonlySet<number> = new Set([VIRQ.TIMER, VIRQ.DEBUG, VIRQ.XENOPROF, VIRQ.XENPMU]);

class BoundHost implements HostChannel {
  readonly port: number;
  readonly events: EventChannels;
  readonly listener: HostListener;
  open = true;
  private queued = false;
  /** Sends that are still to be answered before the guest goes on; 0: the next one is only watched. */
  private prompt = 0;

  constructor(events: EventChannels, port: number, listener: HostListener) {
    this.events = events;
    this.port = port;
    this.listener = listener;
  }

  /**
   * The guest sent. A guest that goes to sleep for the answer wants it before it does, which is cheaper by two context
   * switches; one that goes on wants several requests to be answered at once. So what it did after a send decides about the
   * next few.
   */
  raised(): void {
    if (this.queued) return;
    this.queued = true;
    const { domain } = this.events;
    const isPrompt = this.prompt > 0;
    if (isPrompt) {
      this.prompt--;
      domain.machine.interrupt();
    }
    domain.machine.queueListener(() => {
      this.queued = false;
      if (!isPrompt) this.prompt = domain.vcpus.some((vcpu) => vcpu.runnable) ? 0 : PROMPT_ANSWERS;
      if (this.open) this.listener();
    });
  }

  notify(): void {
    if (!this.open || this.events.domain.dying) return;
    this.events.raise(this.port);
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    this.events.hostClosed(this.port);
  }
}

/** All event channels of one domain (Xen's common/event_channel.c). Results below 0 are `-errno`. */
export class EventChannels {
  /** Whose they are. */
  readonly domain: Domain;
  /** Index is the port; port 0 is reserved. */
  readonly channels: Channel[] = [];
  /** The ABI in use: 2-level until the first {@link EventChannels.initControl}. */
  abi: EventAbi;
  /** The FIFO ABI's state once it is in use. */
  fifo: FifoEvents | undefined;
  /** Highest port number that may be allocated. */
  readonly maxPort: number;

  constructor(domain: Domain, maxPort: number) {
    this.domain = domain;
    this.maxPort = maxPort;
    this.abi = new TwoLevelEvents(domain);
    this.channels.push(newChannel(0, RESERVED));
  }

  /** The channel of a port that exists, whatever its state. */
  at(port: number): Channel | undefined {
    return this.channels[port];
  }

  private freePort(): Channel | number {
    for (let port = 1; port < this.channels.length; port++) {
      const channel = this.channels[port] as Channel;
      if (channel.state === EVTCHNSTAT.closed) return channel;
    }
    const port = this.channels.length;
    if (port > this.maxPort || port >= this.abi.maxPorts) return -XEN_ERRNO.ENOSPC;
    const channel = newChannel(port, EVTCHNSTAT.closed);
    this.channels.push(channel);
    return channel;
  }

  private take(state: number): Channel | number {
    const channel = this.freePort();
    if (typeof channel === "number") return channel;
    channel.state = state;
    channel.vcpu = 0;
    channel.priority = DEFAULT_PRIORITY;
    channel.virq = 0;
    channel.remoteDomain = 0;
    channel.remotePort = 0;
    channel.host = undefined;
    return channel;
  }

  /** A port that domain `remote` may bind later. */
  allocateUnbound(remote: number): number {
    const channel = this.take(EVTCHNSTAT.unbound);
    if (typeof channel === "number") return channel;
    channel.remoteDomain = remote === DOMID.SELF ? this.domain.id : remote;
    return channel.port;
  }

  /** Connects to `remotePort` of `remote`, which must be unbound and meant for this domain. */
  bindInterdomain(remote: Domain, remotePort: number): number {
    const channel = this.take(EVTCHNSTAT.unbound);
    if (typeof channel === "number") return channel;
    const peer = remote.events.at(remotePort);
    if (
      peer === undefined ||
      peer === channel ||
      peer.state !== EVTCHNSTAT.unbound ||
      peer.remoteDomain !== this.domain.id
    ) {
      channel.state = EVTCHNSTAT.closed;
      return -XEN_ERRNO.EINVAL;
    }
    channel.state = EVTCHNSTAT.interdomain;
    channel.remoteDomain = remote.id;
    channel.remotePort = remotePort;
    peer.state = EVTCHNSTAT.interdomain;
    peer.remoteDomain = this.domain.id;
    peer.remotePort = channel.port;
    // Events sent while the peer was unbound are lost; Xen makes up for it with one that is always set.
    this.setPending(channel);
    return channel.port;
  }

  /** EVTCHNOP_bind_virq: the new port, or `-errno`. */
  bindVirq(virq: number, vcpuId: number): number {
    if (virq < 0 || virq >= NR_VIRQS) return -XEN_ERRNO.EINVAL;
    if (!PER_VCPU_VIRQS.has(virq) && vcpuId !== 0) return -XEN_ERRNO.EINVAL;
    const vcpu = this.domain.vcpus[vcpuId];
    if (vcpu === undefined) return -XEN_ERRNO.ENOENT;
    if (vcpu.virqPorts[virq] !== 0) return -XEN_ERRNO.EEXIST;
    const channel = this.take(EVTCHNSTAT.virq);
    if (typeof channel === "number") return channel;
    channel.vcpu = vcpuId;
    channel.virq = virq;
    vcpu.virqPorts[virq] = channel.port;
    return channel.port;
  }

  /** EVTCHNOP_bind_ipi: the new port, or `-errno`. */
  bindIpi(vcpuId: number): number {
    if (this.domain.vcpus[vcpuId] === undefined) return -XEN_ERRNO.ENOENT;
    const channel = this.take(EVTCHNSTAT.ipi);
    if (typeof channel === "number") return channel;
    channel.vcpu = vcpuId;
    return channel.port;
  }

  /** Closes a port; its peer becomes unbound again. */
  close(port: number): number {
    const channel = this.channels[port];
    if (channel === undefined) return -XEN_ERRNO.EINVAL;
    switch (channel.state) {
      case EVTCHNSTAT.closed:
      case RESERVED:
        return -XEN_ERRNO.EINVAL;
      case EVTCHNSTAT.virq: {
        const vcpus = this.domain.vcpus;
        for (const vcpu of vcpus) if (vcpu.virqPorts[channel.virq] === port) vcpu.virqPorts[channel.virq] = 0;
        break;
      }
      case EVTCHNSTAT.interdomain: {
        if (channel.host !== undefined) {
          (channel.host as BoundHost).open = false;
          channel.host = undefined;
          break;
        }
        const remote = this.domain.machine.domain(channel.remoteDomain);
        const peer = remote?.events.at(channel.remotePort);
        if (peer !== undefined && peer.state === EVTCHNSTAT.interdomain) {
          peer.state = EVTCHNSTAT.unbound;
          peer.remoteDomain = this.domain.id;
          peer.remotePort = 0;
        }
        break;
      }
      default:
        break;
    }
    this.abi.clearPending(channel);
    channel.latched = false;
    channel.state = EVTCHNSTAT.closed;
    channel.vcpu = 0;
    return 0;
  }

  /** EVTCHNOP_send. */
  send(port: number): number {
    const channel = this.channels[port];
    if (channel === undefined) return -XEN_ERRNO.EINVAL;
    switch (channel.state) {
      case EVTCHNSTAT.interdomain: {
        const host = channel.host as BoundHost | undefined;
        if (host !== undefined) {
          host.raised();
          return 0;
        }
        const remote = this.domain.machine.domain(channel.remoteDomain);
        const peer = remote?.events.at(channel.remotePort);
        if (remote !== undefined && peer !== undefined) remote.events.setPending(peer);
        return 0;
      }
      case EVTCHNSTAT.ipi:
        this.setPending(channel);
        return 0;
      case EVTCHNSTAT.unbound:
        return 0;
      default:
        return -XEN_ERRNO.EINVAL;
    }
  }

  /** EVTCHNOP_bind_vcpu: has another VCPU told; 0 or `-errno`. */
  bindVcpu(port: number, vcpuId: number): number {
    if (this.domain.vcpus[vcpuId] === undefined) return -XEN_ERRNO.ENOENT;
    const channel = this.channels[port];
    if (channel === undefined) return -XEN_ERRNO.EINVAL;
    switch (channel.state) {
      case EVTCHNSTAT.virq:
        if (PER_VCPU_VIRQS.has(channel.virq)) return -XEN_ERRNO.EINVAL;
        break;
      case EVTCHNSTAT.unbound:
      case EVTCHNSTAT.interdomain:
      case EVTCHNSTAT.pirq:
        break;
      default:
        return -XEN_ERRNO.EINVAL;
    }
    channel.vcpu = vcpuId;
    return 0;
  }

  /** EVTCHNOP_unmask; 0 or `-errno`. */
  unmask(port: number): number {
    const channel = this.channels[port];
    if (channel === undefined) return -XEN_ERRNO.EINVAL;
    this.abi.unmask(channel);
    return 0;
  }

  /** EVTCHNOP_set_priority; 0 or `-errno`. */
  setPriority(port: number, priority: number): number {
    const channel = this.channels[port];
    if (channel === undefined) return -XEN_ERRNO.EINVAL;
    if (this.fifo === undefined) return -XEN_ERRNO.ENOSYS;
    if (priority > 15) return -XEN_ERRNO.EINVAL;
    channel.priority = priority;
    return 0;
  }

  /** Closes every port and goes back to the 2-level ABI. */
  reset(): void {
    for (let port = 1; port < this.channels.length; port++) {
      if ((this.channels[port] as Channel).state !== EVTCHNSTAT.closed) this.close(port);
    }
    this.fifo?.release();
    this.fifo = undefined;
    this.abi = new TwoLevelEvents(this.domain);
    this.domain.clearEventBits();
  }

  /** EVTCHNOP_init_control: gives a VCPU its FIFO control block; the first call leaves the 2-level ABI. */
  initControl(gfn: number, offset: number, vcpuId: number): number {
    const vcpu = this.domain.vcpus[vcpuId];
    if (vcpu === undefined) return -XEN_ERRNO.ENOENT;
    // sizeof(struct evtchn_fifo_control_block) is 72: ready, reserved, head[16].
    if (offset > 4096 - 72 || (offset & 7) !== 0) return -XEN_ERRNO.EINVAL;
    const first = this.fifo === undefined;
    const fifo = this.fifo ?? new FifoEvents(this.domain);
    const status = fifo.addControlBlock(vcpuId, gfn, offset);
    if (status !== 0) return status;
    if (first) {
      for (const channel of this.channels) {
        channel.latched = this.abi.isPending(channel);
        channel.priority = DEFAULT_PRIORITY;
      }
      this.fifo = fifo;
      this.abi = fifo;
    }
    return 0;
  }

  /** EVTCHNOP_expand_array: adds a page of event words; 0 or `-errno`. */
  expandArray(gfn: number): number {
    if (this.fifo === undefined) return -XEN_ERRNO.EOPNOTSUPP;
    return this.fifo.addArrayPage(gfn, this.channels);
  }

  /** Raises a VCPU's VIRQ if the guest bound it. */
  raiseVirq(vcpu: VirtualCpu, virq: number): void {
    const port = vcpu.virqPorts[virq];
    if (port !== undefined && port !== 0) this.setPending(this.channels[port] as Channel);
  }

  /** Marks a port pending, as its peer's send does. */
  raise(port: number): void {
    const channel = this.channels[port];
    if (channel !== undefined) this.setPending(channel);
  }

  /** Marks a channel pending unless it was closed. */
  setPending(channel: Channel): void {
    if (channel.state === EVTCHNSTAT.closed || this.domain.dying) return;
    this.abi.setPending(channel);
  }

  /** Binds the host's end of a port that the guest (or the toolstack) left unbound for domain 0; `-errno` when it is not. */
  bindHost(port: number, listener: HostListener): HostChannel | number {
    const channel = this.channels[port];
    if (channel === undefined || channel.state !== EVTCHNSTAT.unbound || channel.remoteDomain !== 0) {
      return -XEN_ERRNO.EINVAL;
    }
    const host = new BoundHost(this, port, listener);
    channel.state = EVTCHNSTAT.interdomain;
    channel.remotePort = this.domain.machine.nextHostPort();
    channel.host = host;
    // As for any binding: what the guest sent before is lost, so the new end is told once.
    this.send(port);
    return host;
  }

  /** Called by the host's end when it closes. */
  hostClosed(port: number): void {
    const channel = this.channels[port];
    if (channel === undefined || channel.state !== EVTCHNSTAT.interdomain) return;
    channel.state = EVTCHNSTAT.unbound;
    channel.remoteDomain = 0;
    channel.remotePort = 0;
    channel.host = undefined;
  }
}

function newChannel(port: number, state: number): Channel {
  return {
    port,
    state,
    vcpu: 0,
    priority: DEFAULT_PRIORITY,
    latched: false,
    remoteDomain: 0,
    remotePort: 0,
    virq: 0,
    lastVcpu: 0,
    lastPriority: DEFAULT_PRIORITY,
    host: undefined,
  };
}
