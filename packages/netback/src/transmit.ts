import type { PacketPort } from "@paravirt/core";
import { findTransport, finishFrame, isOffloadValid, writePartialChecksum } from "@paravirt/net";
import { NETIF_RSP, XEN_NETIF_MAX_TX_SIZE } from "@paravirt/xen-abi";
import type { BackRing, GuestPort } from "@paravirt/xenbus";
import type { MulticastFilter } from "./multicast.ts";
import type { CreditBucket } from "./rate.ts";
import type { VifStatistics } from "./statistics.ts";
import { type TxPacket, type TxPiece, takeTxPacket } from "./tx-request.ts";

/** Slots that one turn deals with; more wait until the guest and others had theirs. */
const TURN_SLOTS = 256;

/** What the guest's transmit queue works with. */
export interface TransmitQueueOptions {
  readonly ring: BackRing;
  readonly guest: GuestPort;
  /** Where frames go. */
  readonly port: PacketPort;
  readonly filter: MulticastFilter;
  readonly statistics: VifStatistics;
  /** Whether the link is up; frames sent otherwise are lost, as on a pulled cable. */
  readonly isLinkUp: () => boolean;
  /** The guest's limit. */
  readonly limit?: { readonly bucket: CreditBucket; readonly timer: VifTimer } | undefined;
  /** Told once when the ring can't be understood any more. */
  readonly onBroken: (reason: string) => void;
}

/** Time, as a rate limit needs it. */
export interface VifTimer {
  /** Milliseconds since some moment; never goes back. */
  now(): number;
  /** Calls `work` once after `delay` milliseconds; answers how to have it not called. */
  after(delay: number, work: () => void): () => void;
}

/** The guest's way out: takes frames off its ring and sends them through a port. */
export interface TransmitQueue {
  /** Deals with what the ring holds: to be called at each event. */
  run(): void;
  /** Ends it: nothing is taken or answered any more. */
  stop(): void;
}

/** Makes the queue; it does nothing by itself. */
export function createTransmitQueue(options: TransmitQueueOptions): TransmitQueue {
  return new Transmit(options);
}

class Transmit implements TransmitQueue {
  readonly #options: TransmitQueueOptions;
  readonly #frame = new Uint8Array(XEN_NETIF_MAX_TX_SIZE);
  readonly #answer = new Uint8Array(4);
  readonly #answerView = new DataView(this.#answer.buffer);
  #stopped = false;
  /** A frame for which the guest has no credit yet. */
  #held: TxPacket | undefined;
  #cancelTimer: (() => void) | undefined;
  #queued = false;

  constructor(options: TransmitQueueOptions) {
    this.#options = options;
  }

  run(): void {
    if (this.#stopped || this.#cancelTimer !== undefined || this.#queued) return;
    const { ring, guest } = this.#options;
    let left = TURN_SLOTS;
    for (;;) {
      const packet = this.#held ?? takeTxPacket(ring);
      this.#held = undefined;
      if (packet === undefined) {
        ring.push();
        if (!ring.waitForRequests()) return;
        continue;
      }
      if ("broken" in packet) {
        this.stop();
        this.#options.onBroken(packet.broken);
        return;
      }
      if (this.#waitsForCredit(packet)) break;
      this.#answerAll(packet, this.#execute(packet));
      if (this.#stopped) return;
      left -= packet.answers.length;
      if (left <= 0) {
        this.#queued = true;
        guest.later(() => {
          this.#queued = false;
          this.run();
        });
        break;
      }
    }
    ring.push();
  }

  stop(): void {
    this.#stopped = true;
    this.#held = undefined;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #waitsForCredit(packet: TxPacket): boolean {
    const { limit } = this.#options;
    if (limit === undefined || packet.action.kind !== "send") return false;
    const { bucket, timer } = limit;
    const wait = bucket.take(packet.action.length, timer.now());
    if (wait <= 0) return false;
    this.#held = packet;
    this.#cancelTimer = timer.after(wait, () => {
      this.#cancelTimer = undefined;
      this.run();
    });
    return true;
  }

  /** Answers the status of the packet's first slot and those of its data. */
  #execute({ action }: TxPacket): number {
    const { statistics, filter } = this.#options;
    switch (action.kind) {
      case "join":
        return filter.join(action.group) ? NETIF_RSP.OKAY : NETIF_RSP.ERROR;
      case "leave":
        filter.leave(action.group);
        return NETIF_RSP.OKAY;
      case "refuse":
        statistics.sendErrors++;
        return NETIF_RSP.ERROR;
      case "send":
        if (this.#send(action)) return NETIF_RSP.OKAY;
        statistics.sendErrors++;
        return NETIF_RSP.ERROR;
    }
  }

  #send({ pieces, length, offload, checksumIsBlank }: Extract<TxPacket["action"], { kind: "send" }>): boolean {
    const { port, statistics, isLinkUp } = this.#options;
    const frame = this.#frame.subarray(0, length);
    if (!this.#gather(pieces, frame) || !isOffloadValid(frame, offload)) return false;
    if (!isLinkUp()) return false;
    statistics.sentFrames++;
    statistics.sentBytes += length;
    if (port.takesOffloads !== true) return finishFrame(frame, offload, (finished) => port.send(finished));
    // Whoever gets a large segment takes its checksum as partial.
    if (offload.segmentSize !== undefined && !checksumIsBlank) writePartialChecksum(frame, findTransport(frame)!);
    port.send(frame, offload);
    return true;
  }

  /** Copies a frame's pieces out of the guest's pages: it may go on to change them. */
  #gather(pieces: readonly TxPiece[], frame: Uint8Array): boolean {
    const { guest } = this.#options;
    let at = 0;
    for (const { ref, offset, length } of pieces) {
      if (length === 0) continue;
      const page = guest.mapGrant(ref, { readOnly: true });
      if (typeof page === "number") return false;
      // A grant may be of a part of a page only.
      const fits = offset + length <= page.bytes.length;
      if (fits) frame.set(page.bytes.subarray(offset, offset + length), at);
      page.release();
      if (!fits) return false;
      at += length;
    }
    return true;
  }

  #answerAll({ answers }: TxPacket, status: number): void {
    const { ring } = this.#options;
    for (const answer of answers) {
      this.#answerView.setUint16(0, answer === "extra" ? 0 : answer, true);
      this.#answerView.setInt16(2, answer === "extra" ? NETIF_RSP.NULL : status, true);
      ring.respond(this.#answer);
    }
  }
}
