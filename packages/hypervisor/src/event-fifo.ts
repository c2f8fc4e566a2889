import { EVTCHN_FIFO, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Domain } from "./domain.ts";
import type { Channel, EventAbi } from "./event-channels.ts";

const PENDING = 2 ** EVTCHN_FIFO.PENDING;
const MASKED = 2 ** EVTCHN_FIFO.MASKED;
const LINKED = 2 ** EVTCHN_FIFO.LINKED;
const BUSY = 2 ** EVTCHN_FIFO.BUSY;
const LINK_MASK = EVTCHN_FIFO.LINK_MASK;
const WORDS_PER_PAGE = 1024;
const MAX_PAGES = EVTCHN_FIFO.NR_CHANNELS / WORDS_PER_PAGE;
const PRIORITIES = EVTCHN_FIFO.MAX_QUEUES;

/** A VCPU's queues: where its control block lies, and the tail of each priority. */
export interface FifoQueues {
  /** MFN of the control block's page, which Xen holds a reference to. */
  readonly mfn: number;
  /** Index of the block's first 32-bit word in machine memory. */
  readonly word: number;
  /** Port that was linked last, by priority; 0 for none. */
  readonly tails: Uint32Array;
}

/**
 * The FIFO ABI: one word per port in pages the guest gives, linked into a queue per VCPU and priority
 * (Xen's common/event_fifo.c, public/event_channel.h). The guest owns the pages, so every link is checked as it is read.
 */
export class FifoEvents implements EventAbi {
  readonly maxPorts: number = MAX_PAGES * WORDS_PER_PAGE;
  /** Whose events they are. */
  readonly domain: Domain;
  /** MFNs of the pages of event words. */
  readonly pages: number[] = [];
  /** Queues by VCPU. */
  readonly queues: (FifoQueues | undefined)[] = [];

  constructor(domain: Domain) {
    this.domain = domain;
  }

  /** Takes the page that holds a VCPU's control block; `-errno` when the guest does not own it, writable. */
  addControlBlock(vcpu: number, gfn: number, offset: number): number {
    if (this.queues[vcpu] !== undefined) return -XEN_ERRNO.EINVAL;
    if (!this.domain.holdWritable(gfn)) return -XEN_ERRNO.EINVAL;
    const word = (gfn * 4096 + offset) >>> 2;
    this.queues[vcpu] = { mfn: gfn, word, tails: new Uint32Array(PRIORITIES) };
    return 0;
  }

  /** Adds the next page of event words and raises what was pending while it was missing. */
  addArrayPage(gfn: number, channels: readonly Channel[]): number {
    if (this.pages.length >= MAX_PAGES) return -XEN_ERRNO.ENOSPC;
    if (!this.domain.holdWritable(gfn)) return -XEN_ERRNO.EINVAL;
    const first = this.pages.length * WORDS_PER_PAGE;
    this.pages.push(gfn);
    for (let port = first; port < first + WORDS_PER_PAGE && port < channels.length; port++) {
      const channel = channels[port] as Channel;
      if (!channel.latched) continue;
      channel.latched = false;
      this.setPending(channel);
    }
    return 0;
  }

  /** Gives all pages back. */
  release(): void {
    for (const mfn of this.pages) this.domain.releaseWritable(mfn);
    for (const queue of this.queues) if (queue !== undefined) this.domain.releaseWritable(queue.mfn);
    this.pages.length = 0;
    this.queues.length = 0;
  }

  /** Index of the port's word in machine memory, or -1 while its page is missing. */
  private wordOf(port: number): number {
    const mfn = this.pages[port >> 10];
    return mfn === undefined ? -1 : mfn * WORDS_PER_PAGE + (port & 1023);
  }

  setPending(channel: Channel): void {
    const { words } = this.domain.machine.memory;
    const at = this.wordOf(channel.port);
    if (at < 0) {
      channel.latched = true;
      return;
    }
    const before = words[at] as number;
    words[at] = before | PENDING;
    if ((before & (MASKED | LINKED)) === 0) this.link(channel, at);
    if ((before & PENDING) === 0) this.domain.wakePollers(channel.port);
  }

  private link(channel: Channel, at: number): void {
    const { words } = this.domain.machine.memory;
    const vcpu = this.domain.vcpus[channel.vcpu];
    const queues = this.queues[channel.vcpu];
    // Xen raises nothing for a VCPU that has no control block yet.
    if (vcpu === undefined || queues === undefined) return;
    const priority = channel.priority;
    // A port that moved to another queue may still be its old queue's tail.
    if (channel.lastVcpu !== channel.vcpu || channel.lastPriority !== priority) {
      const old = this.queues[channel.lastVcpu];
      if (old !== undefined && old.tails[channel.lastPriority] === channel.port) old.tails[channel.lastPriority] = 0;
      channel.lastVcpu = channel.vcpu;
      channel.lastPriority = priority;
    }
    words[at] = (((words[at] as number) | LINKED) & ~LINK_MASK) >>> 0;
    const tail = queues.tails[priority] as number;
    let linked = false;
    if (tail !== 0 && tail !== channel.port) {
      const tailAt = this.wordOf(tail);
      const tailWord = tailAt < 0 ? 0 : (words[tailAt] as number);
      // The guest clears LINKED when it takes the tail; then the queue is empty and starts anew at the head.
      if ((tailWord & LINKED) !== 0) {
        words[tailAt] = ((tailWord & ~(BUSY | LINK_MASK)) | channel.port) >>> 0;
        linked = true;
      }
    }
    queues.tails[priority] = channel.port;
    if (linked) return;
    words[queues.word + 2 + priority] = channel.port;
    const ready = words[queues.word] as number;
    if ((ready & (1 << priority)) !== 0) return;
    words[queues.word] = (ready | (1 << priority)) >>> 0;
    vcpu.markEventsPending();
  }

  clearPending(channel: Channel): void {
    const at = this.wordOf(channel.port);
    if (at < 0) return;
    const { words } = this.domain.machine.memory;
    words[at] = ((words[at] as number) & ~PENDING) >>> 0;
  }

  unmask(channel: Channel): void {
    const at = this.wordOf(channel.port);
    if (at < 0) return;
    const { words } = this.domain.machine.memory;
    words[at] = ((words[at] as number) & ~MASKED) >>> 0;
    if (((words[at] as number) & PENDING) !== 0) this.setPending(channel);
  }

  isPending(channel: Channel): boolean {
    const at = this.wordOf(channel.port);
    return at >= 0 && ((this.domain.machine.memory.words[at] as number) & PENDING) !== 0;
  }

  isMasked(channel: Channel): boolean {
    const at = this.wordOf(channel.port);
    return at < 0 || ((this.domain.machine.memory.words[at] as number) & MASKED) !== 0;
  }
}
