import { SHARED_INFO, VCPU_INFO } from "./abi.ts";
import type { Domain } from "./domain.ts";
import type { Channel, EventAbi } from "./event-channels.ts";

/** The original ABI: bitmaps in shared_info, a selector word per VCPU (Xen's common/event_2l.c). */
export class TwoLevelEvents implements EventAbi {
  readonly maxPorts = 4096;
  readonly domain: Domain;

  constructor(domain: Domain) {
    this.domain = domain;
  }

  setPending(channel: Channel): void {
    const { domain } = this;
    const bytes = domain.machine.memory.bytes;
    const port = channel.port;
    const pendingAt = domain.sharedInfoAt + SHARED_INFO.evtchnPending + (port >> 3);
    const bit = 1 << (port & 7);
    const pending = bytes[pendingAt] as number;
    if ((pending & bit) !== 0) return;
    bytes[pendingAt] = pending | bit;
    if (!this.isMasked(channel)) this.select(channel);
    domain.wakePollers(port);
  }

  private select(channel: Channel): void {
    const vcpu = this.domain.vcpus[channel.vcpu];
    if (vcpu === undefined) return;
    const bytes = this.domain.machine.memory.bytes;
    const word = channel.port >> 6;
    const selectorAt = vcpu.infoAt + VCPU_INFO.pendingSel + (word >> 3);
    const bit = 1 << (word & 7);
    const selector = bytes[selectorAt] as number;
    if ((selector & bit) !== 0) return;
    bytes[selectorAt] = selector | bit;
    vcpu.markEventsPending();
  }

  clearPending(channel: Channel): void {
    const at = this.domain.sharedInfoAt + SHARED_INFO.evtchnPending + (channel.port >> 3);
    const bytes = this.domain.machine.memory.bytes;
    bytes[at] = (bytes[at] as number) & ~(1 << (channel.port & 7));
  }

  unmask(channel: Channel): void {
    const at = this.domain.sharedInfoAt + SHARED_INFO.evtchnMask + (channel.port >> 3);
    const bytes = this.domain.machine.memory.bytes;
    const bit = 1 << (channel.port & 7);
    const mask = bytes[at] as number;
    bytes[at] = mask & ~bit;
    if ((mask & bit) !== 0 && this.isPending(channel)) this.select(channel);
  }

  isPending(channel: Channel): boolean {
    return this.bit(SHARED_INFO.evtchnPending, channel.port);
  }

  isMasked(channel: Channel): boolean {
    return this.bit(SHARED_INFO.evtchnMask, channel.port);
  }

  private bit(map: number, port: number): boolean {
    if (port >= this.maxPorts) return false;
    const byte = this.domain.machine.memory.bytes[this.domain.sharedInfoAt + map + (port >> 3)] as number;
    return (byte & (1 << (port & 7))) !== 0;
  }
}
