import { Congestion } from "./congestion.ts";
import { Reassembly } from "./reassembly.ts";
import { RoundTrip } from "./round-trip.ts";
import { type Segment, TCP } from "./segment.ts";
import { SendQueue } from "./send-queue.ts";
import { advance, distance } from "./sequence.ts";

/** A segment that a connection sends; whoever gets it adds ports and addresses and takes `length` bytes with `copy`. */
export interface Outgoing {
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  readonly window: number;
  /** In a SYN: our window's scale, if there is one. */
  readonly windowScale: number | undefined;
  /** Bytes of data, more than {@link Outgoing.segmentSize} when it is to be cut. */
  readonly length: number;
  /** What the other side takes at most in one segment. */
  readonly segmentSize: number;
  /** Puts the data into a frame. */
  copy(into: Uint8Array, at: number): void;
}

/** What a connection works with, and who gets its data. */
export interface ConnectionUser {
  /** Milliseconds. */
  now(): number;
  /** Sends a segment. */
  emit(segment: Outgoing): void;
  /** Asks for {@link TcpConnection.flush} after the frames that are at hand have been looked at. */
  wantsFlush(): void;
  /** {@link TcpConnection.deadline} changed. */
  deadlineChanged(): void;
  /** How many bytes it would take now. */
  room(): number;
  /** The other side answered: data may be sent. */
  onEstablished(): void;
  /** Data, in order; valid during the call only. */
  onData(bytes: Uint8Array): void;
  /** The other side has sent all. */
  onEnd(): void;
  /** Some of what was sent has arrived: {@link TcpConnection.unsent} is smaller. */
  onProgress(): void;
  /** It is over: `true` when both sides ended it in order. Nothing comes after it. */
  onClose(inOrder: boolean): void;
}

/** Settings of a connection. */
export interface ConnectionOptions {
  /** Largest segment that we send whatever the other side says: the MTU's. */
  readonly maximumSegment: number;
  /** Most data in one {@link Outgoing} that is to be cut by the receiver; 0 for no more than one segment's. */
  readonly largeSegment: number;
  /** First sequence number. */
  readonly initialSequence: number;
  /** Milliseconds without a word from the other side after which it is asked whether it is there. */
  readonly keepAlive: number;
}

type State = "syn-received" | "syn-sent" | "open" | "time-wait" | "closed";

/** Our scale: windows up to 8 MiB in steps of 128 bytes. */
const WINDOW_SCALE = 7;
/** RFC 9293 3.7.1: what is taken for granted without the option. */
const DEFAULT_SEGMENT = 536;
/** A smaller segment size would make us send more headers than data. */
const LEAST_SEGMENT = 64;
const TIME_WAIT = 10_000;
/** Retransmissions of the same data before the other side is given up. */
const MAX_RETRANSMISSIONS = 10;
const MAX_SYN_RETRANSMISSIONS = 5;
const MAX_PROBES = 5;
const PROBE_INTERVAL = 10_000;
/** A window that grows by this is worth a segment, however large segments are. */
const SMALL_STEP = 16 * 1024;
/** Data that is acknowledged at once, without waiting for the end of the frames at hand. */
const ACK_AT_ONCE = 128 * 1024;

/**
 * One end of a TCP connection (RFC 9293): retransmission with NewReno, window scaling, reassembly, half close, probes of a
 * closed window, keep-alive. It has no selective acknowledgments and no timestamps. It knows neither addresses nor time nor
 * the other end's name; {@link ConnectionUser} has them.
 */
export class TcpConnection {
  readonly #user: ConnectionUser;
  readonly #options: ConnectionOptions;
  readonly #queue = new SendQueue();
  readonly #waiting = new Reassembly();
  readonly #roundTrip = new RoundTrip();
  #congestion: Congestion;
  #state: State;

  #segment: number;
  #una: number;
  #next: number;
  /** The highest sequence number that was ever sent; `#next` goes back when a timeout has all sent again. */
  #highest: number;
  #window = 0;
  #scale: number | undefined;
  #windowSequence = 0;
  #windowAcknowledgment = 0;
  #wantsEnd = false;
  #endAcknowledged = false;

  #expected = 0;
  #edge = 0;
  /** Where the other side's FIN stands, when it was seen. */
  #endAt: number | undefined;
  #ended = false;
  #owed = 0;
  #owesAcknowledgment = false;

  #timed: { sequence: number; at: number } | undefined;
  #retransmitAt = Number.POSITIVE_INFINITY;
  #keepAliveAt = Number.POSITIVE_INFINITY;
  #tries = 0;
  #probes = 0;

  private constructor(user: ConnectionUser, options: ConnectionOptions, state: State) {
    this.#user = user;
    this.#options = options;
    this.#state = state;
    this.#segment = Math.min(DEFAULT_SEGMENT, options.maximumSegment);
    this.#una = this.#next = this.#highest = options.initialSequence >>> 0;
    this.#congestion = new Congestion(this.#segment);
  }

  /** The other side asked for a connection with `syn`. {@link TcpConnection.accept} answers it. */
  static passive(syn: Segment, user: ConnectionUser, options: ConnectionOptions): TcpConnection {
    const connection = new TcpConnection(user, options, "syn-received");
    connection.#takeSyn(syn);
    return connection;
  }

  /** Asks the other side for a connection. */
  static active(user: ConnectionUser, options: ConnectionOptions): TcpConnection {
    const connection = new TcpConnection(user, options, "syn-sent");
    // Without our scale in a SYN neither side may use one; so the edge counts from the answer.
    connection.#sendSyn();
    return connection;
  }

  /** Bytes that wait to be sent or acknowledged. */
  get unsent(): number {
    return this.#queue.length;
  }

  /** Bytes that came too early. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Whether nothing can be sent any more: closed, or only remembered. */
  get isOver(): boolean {
    return this.#state === "closed" || this.#state === "time-wait";
  }

  /** Whether it is only remembered so that late segments are understood. */
  get isRemembered(): boolean {
    return this.#state === "time-wait";
  }

  /** When {@link TcpConnection.tick} is to be called; infinite for never. */
  get deadline(): number {
    return Math.min(this.#retransmitAt, this.#keepAliveAt);
  }

  /** Answers the other side's SYN. */
  accept(): void {
    if (this.#state === "syn-received" && this.#next === this.#una) this.#sendSyn();
  }

  /** Queues data. */
  send(bytes: Uint8Array): void {
    if (this.#wantsEnd || this.isOver) return;
    this.#queue.push(bytes);
    this.#output();
  }

  /** Says that no more data follows. */
  end(): void {
    if (this.#wantsEnd || this.isOver) return;
    this.#wantsEnd = true;
    this.#output();
  }

  /** Ends it at once; the other side is told by a reset. */
  reset(): void {
    if (this.#state === "closed") return;
    if (this.#state !== "time-wait") this.#emit(this.#next, TCP.RST | TCP.ACK, 0);
    this.#close(false);
  }

  /** The user takes more than before: tells the other side, if that is worth a segment. */
  roomChanged(): void {
    if (this.#state !== "open" || this.#ended) return;
    const before = distance(this.#edge, this.#expected);
    const gain = this.#user.room() - before;
    // RFC 9293 3.8.6.2.2: no small steps.
    if (gain >= Math.min(2 * this.#segment, SMALL_STEP) && gain >= before / 2) this.#acknowledge();
  }

  /** Sends the acknowledgment that is owed. */
  flush(): void {
    if (this.#owesAcknowledgment && this.#state !== "closed") this.#acknowledge();
  }

  /** A segment of the other side. */
  receive(segment: Segment): void {
    if (this.#state === "closed") return;
    this.#probes = 0;
    if (this.#state === "syn-sent") this.#receiveInSynSent(segment);
    else this.#receiveSynchronized(segment);
    if (this.#state === "open") this.#setKeepAlive(this.#options.keepAlive);
  }

  /** Time has come to {@link TcpConnection.deadline}. */
  tick(): void {
    const now = this.#user.now();
    if (this.#state === "time-wait") {
      if (now >= this.#keepAliveAt) this.#close(true);
      return;
    }
    if (now >= this.#retransmitAt) this.#retransmit();
    if (now >= this.#keepAliveAt && this.#state === "open") this.#probe();
  }

  #takeSyn(segment: Segment): void {
    this.#expected = this.#edge = advance(segment.sequence, 1);
    const offered = segment.maximumSegment ?? DEFAULT_SEGMENT;
    this.#segment = Math.min(Math.max(offered, LEAST_SEGMENT), this.#options.maximumSegment);
    this.#congestion = new Congestion(this.#segment);
    this.#scale = segment.windowScale;
    // RFC 7323 2.2: the window of a SYN is never scaled.
    this.#window = segment.window;
    this.#windowSequence = segment.sequence;
    this.#windowAcknowledgment = segment.acknowledgment;
  }

  #sendSyn(): void {
    this.#highest = this.#next = advance(this.#una, 1);
    this.#emit(this.#una, this.#state === "syn-sent" ? TCP.SYN : TCP.SYN | TCP.ACK, 0);
    this.#startRetransmission();
  }

  #receiveInSynSent(segment: Segment): void {
    const acknowledges = (segment.flags & TCP.ACK) !== 0 && segment.acknowledgment === this.#next;
    if ((segment.flags & TCP.RST) !== 0) {
      if (acknowledges) this.#close(false);
      return;
    }
    if ((segment.flags & TCP.SYN) === 0 || !acknowledges) return;
    this.#takeSyn(segment);
    this.#establish();
    this.#acknowledge();
    this.#output();
  }

  #establish(): void {
    this.#state = "open";
    this.#una = this.#next;
    this.#stopRetransmission();
    this.#user.onEstablished();
  }

  #receiveSynchronized(segment: Segment): void {
    const { flags, data } = segment;
    const length = data.length + ((flags & TCP.FIN) !== 0 ? 1 : 0);
    const start = distance(segment.sequence, this.#expected);
    if ((flags & TCP.RST) !== 0) {
      // RFC 5961 3.2: only the exact number ends it; one within the window is asked about.
      if (start === 0) this.#close(false);
      else if (start > 0 && distance(segment.sequence, this.#edge) < 0) this.#acknowledge();
      return;
    }
    if ((flags & TCP.SYN) !== 0) {
      if (this.#state === "syn-received") {
        // Our answer was lost, or the host hasn't answered yet.
        if (this.#next !== this.#una) this.#sendSyn();
      } else this.#acknowledge();
      return;
    }
    const isUnanswered = this.#state === "syn-received" && this.#next === this.#una;
    if ((flags & TCP.ACK) === 0 || isUnanswered) return;
    const isOld = start < 0 && start + length <= 0;
    const isAhead = start > 0 && distance(segment.sequence, this.#edge) >= 0;
    if (isOld || isAhead) {
      // A retransmission, a keep-alive, or a probe of our closed window.
      this.#acknowledge();
      if (isAhead) return;
    }
    if (!this.#receiveAcknowledgment(segment)) return;
    if (length === 0 || isOld || this.isOver) return;
    this.#receiveText(segment, start);
  }

  /** Answers whether the segment is to be looked at further. */
  #receiveAcknowledgment(segment: Segment): boolean {
    const { acknowledgment } = segment;
    if (this.#state === "time-wait") return false;
    const ahead = distance(acknowledgment, this.#highest);
    if (this.#state === "syn-received") {
      if (acknowledgment !== this.#next) return false;
      this.#windowAcknowledgment = acknowledgment;
      this.#establish();
      this.#window = this.#scaled(segment);
      this.#output();
      return true;
    }
    if (ahead > 0) {
      this.#acknowledge();
      return false;
    }
    const acknowledged = distance(acknowledgment, this.#una);
    const window = this.#scaled(segment);
    if (acknowledged > 0) this.#advanceTo(acknowledgment, acknowledged);
    else if (acknowledged < 0) return true;
    else if (segment.data.length === 0 && window === this.#window && this.#una !== this.#highest && window > 0) {
      if (this.#congestion.duplicate(distance(this.#highest, this.#una), this.#highest)) this.#resendFirst();
    }
    if (this.isOver) return false;
    this.#updateWindow(segment, window);
    this.#output();
    return true;
  }

  #advanceTo(acknowledgment: number, acknowledged: number): void {
    const bytes = Math.min(acknowledged, this.#queue.length);
    this.#queue.drop(bytes);
    this.#una = acknowledgment;
    if (distance(this.#next, acknowledgment) < 0) this.#next = acknowledgment;
    if (acknowledged > bytes) this.#endAcknowledged = true;
    const now = this.#user.now();
    if (this.#timed !== undefined && distance(acknowledgment, this.#timed.sequence) > 0) {
      this.#roundTrip.measured(now - this.#timed.at);
      this.#timed = undefined;
    }
    this.#roundTrip.progressed();
    this.#tries = 0;
    if (this.#una === this.#highest) this.#stopRetransmission();
    else this.#startRetransmission();
    if (this.#congestion.acknowledged(acknowledged, acknowledgment) && this.#una !== this.#highest) this.#resendFirst();
    if (bytes > 0) this.#user.onProgress();
    // The other side ended first, and has seen our end: there is nothing left to remember.
    if (this.#endAcknowledged && this.#ended) this.#close(true);
  }

  #scaled({ window }: Segment): number {
    return this.#scale === undefined ? window : window * 2 ** this.#scale;
  }

  #updateWindow({ sequence, acknowledgment }: Segment, window: number): void {
    const newer = distance(sequence, this.#windowSequence);
    // RFC 9293 3.10.7.4: an older segment doesn't set the window back.
    if (newer < 0 || (newer === 0 && distance(acknowledgment, this.#windowAcknowledgment) < 0)) return;
    const opened = this.#window === 0 && window > 0;
    this.#window = window;
    this.#windowSequence = sequence;
    this.#windowAcknowledgment = acknowledgment;
    if (opened && this.#una === this.#highest) this.#stopRetransmission();
    else if (opened) {
      // What was sent before it closed may have been dropped.
      this.#next = this.#una;
      this.#tries = 0;
    }
  }

  #receiveText(segment: Segment, start: number): void {
    const { flags } = segment;
    let data = segment.data;
    if ((flags & TCP.FIN) !== 0) this.#endAt ??= advance(segment.sequence, data.length);
    let from = start;
    if (from < 0) {
      data = data.subarray(Math.min(-from, data.length));
      from = 0;
    }
    const room = distance(this.#edge, this.#expected) - from;
    if (data.length > room) data = data.subarray(0, Math.max(room, 0));
    if (this.#ended) {
      this.#acknowledge();
      return;
    }
    if (from > 0) {
      if (data.length > 0) this.#waiting.put(advance(this.#expected, from), data);
      // At once, so that the sender counts it as a sign of loss.
      this.#acknowledge();
      return;
    }
    const hadHole = this.#waiting.length > 0;
    this.#deliver(data);
    while (this.#waiting.length > 0 && this.#state === "open") {
      const piece = this.#waiting.take(this.#expected);
      if (piece === undefined) break;
      this.#deliver(piece);
    }
    if (this.#state === "closed") return;
    const isEnd = this.#endAt !== undefined && this.#endAt === this.#expected;
    if (isEnd) {
      this.#ended = true;
      this.#expected = advance(this.#expected, 1);
      this.#edge = this.#expected;
    }
    if (hadHole || isEnd || this.#owed >= ACK_AT_ONCE) this.#acknowledge();
    else {
      this.#owesAcknowledgment = true;
      this.#user.wantsFlush();
    }
    if (!isEnd) return;
    this.#user.onEnd();
    if (this.#endAcknowledged && !this.isOver) this.#remember();
  }

  #deliver(data: Uint8Array): void {
    if (data.length === 0) return;
    this.#expected = advance(this.#expected, data.length);
    this.#owed += data.length;
    this.#user.onData(data);
  }

  /** Both directions are done. Who ended first remembers it, since its last acknowledgment may be lost. */
  #remember(): void {
    this.#state = "time-wait";
    this.#stopRetransmission();
    this.#setKeepAlive(TIME_WAIT);
    this.#user.onClose(true);
  }

  #close(inOrder: boolean): void {
    const wasOver = this.isOver;
    this.#state = "closed";
    this.#retransmitAt = this.#keepAliveAt = Number.POSITIVE_INFINITY;
    this.#owesAcknowledgment = false;
    this.#queue.drop(this.#queue.length);
    this.#user.deadlineChanged();
    if (!wasOver) this.#user.onClose(inOrder);
  }

  /** Sends what may be sent. */
  #output(): void {
    if (this.#state !== "open") return;
    const large = Math.max(this.#segment, this.#options.largeSegment - (this.#options.largeSegment % this.#segment));
    for (;;) {
      const inFlight = distance(this.#next, this.#una);
      const unsent = this.#queue.length - inFlight;
      const room = Math.min(this.#window, this.#congestion.window) - inFlight;
      if (unsent <= 0) {
        if (unsent === 0 && this.#wantsEnd) this.#sendText(inFlight, 0, true);
        break;
      }
      let length = Math.min(unsent, Math.max(Math.floor(room), 0), large);
      // Whole segments while more follows, or a small one as long as nothing is on its way (silly window, RFC 1122 4.2.3.4).
      if (length < unsent)
        length = length >= this.#segment ? length - (length % this.#segment) : inFlight === 0 ? length : 0;
      if (length === 0) break;
      this.#sendText(inFlight, length, this.#wantsEnd && length === unsent);
    }
    // A window that is closed is asked about, since the segment that opens it may be lost.
    const waits = this.#queue.length > 0 || (this.#wantsEnd && !this.#endAcknowledged);
    if (waits && this.#retransmitAt === Number.POSITIVE_INFINITY) this.#startRetransmission();
  }

  #sendText(offset: number, length: number, end: boolean): void {
    const sequence = advance(this.#una, offset);
    const isNew = distance(sequence, this.#highest) >= 0;
    const last = offset + length === this.#queue.length;
    this.#next = advance(sequence, length + (end ? 1 : 0));
    if (distance(this.#next, this.#highest) > 0) this.#highest = this.#next;
    if (isNew) this.#timed ??= { sequence, at: this.#user.now() };
    if (this.#retransmitAt === Number.POSITIVE_INFINITY) this.#startRetransmission();
    this.#emit(sequence, TCP.ACK | (last && length > 0 ? TCP.PSH : 0) | (end ? TCP.FIN : 0), length, offset);
  }

  /** Sends the first unacknowledged piece again: as much as may have been one large segment. */
  #resendFirst(): void {
    const next = this.#next;
    const large = Math.max(this.#segment, this.#options.largeSegment - (this.#options.largeSegment % this.#segment));
    const length = Math.min(this.#queue.length, distance(this.#highest, this.#una), large, this.#window);
    // Karn: the answer may be to either.
    this.#timed = undefined;
    const withEnd = this.#wantsEnd && length === this.#queue.length && distance(this.#highest, this.#una) > length;
    this.#sendText(0, length, withEnd);
    if (distance(next, this.#next) > 0) this.#next = next;
  }

  #retransmit(): void {
    this.#tries++;
    const isOpening = this.#state !== "open";
    if (this.#tries > (isOpening ? MAX_SYN_RETRANSMISSIONS : MAX_RETRANSMISSIONS)) {
      this.reset();
      return;
    }
    this.#roundTrip.expired();
    this.#timed = undefined;
    this.#retransmitAt = Number.POSITIVE_INFINITY;
    if (isOpening) {
      this.#sendSyn();
      return;
    }
    if (this.#window === 0 && this.#queue.length > 0) {
      // What a probe finds is an answer, so it may go on for as long as the other side is there.
      this.#emit(advance(this.#una, -1), TCP.ACK, 0);
      this.#tries = 0;
      if (++this.#probes > MAX_RETRANSMISSIONS) this.reset();
      else this.#startRetransmission();
      return;
    }
    this.#congestion.expired(distance(this.#highest, this.#una));
    this.#next = this.#una;
    this.#output();
  }

  /** Asks a silent other side for a sign of life. */
  #probe(): void {
    if (++this.#probes > MAX_PROBES) {
      this.reset();
      return;
    }
    this.#emit(advance(this.#una, -1), TCP.ACK, 0);
    this.#setKeepAlive(PROBE_INTERVAL);
  }

  #acknowledge(): void {
    this.#emit(this.#state === "open" ? this.#highest : this.#next, TCP.ACK, 0);
  }

  #emit(sequence: number, flags: number, length: number, offset = 0): void {
    const isSyn = (flags & TCP.SYN) !== 0;
    if ((flags & TCP.ACK) !== 0) {
      this.#owed = 0;
      this.#owesAcknowledgment = false;
      if (!this.#ended) {
        // What was offered once stays offered.
        const room = isSyn ? Math.min(this.#user.room(), 0xffff) : this.#user.room() - this.#waiting.length;
        const edge = advance(this.#expected, Math.max(room, 0));
        if (distance(edge, this.#edge) > 0) this.#edge = edge;
      }
    }
    const open = isSyn ? Math.min(this.#user.room(), 0xffff) : distance(this.#edge, this.#expected);
    const isScaled = !isSyn && this.#scale !== undefined;
    this.#user.emit({
      sequence,
      acknowledgment: (flags & TCP.ACK) === 0 ? 0 : this.#expected,
      flags,
      window: Math.min(0xffff, isScaled ? open >> WINDOW_SCALE : open),
      windowScale: isSyn && (this.#state === "syn-sent" || this.#scale !== undefined) ? WINDOW_SCALE : undefined,
      length,
      segmentSize: this.#segment,
      copy: (into, at) => this.#queue.copy(offset, length, into, at),
    });
  }

  #startRetransmission(): void {
    this.#retransmitAt = this.#user.now() + this.#roundTrip.timeout;
    this.#user.deadlineChanged();
  }

  #stopRetransmission(): void {
    this.#retransmitAt = Number.POSITIVE_INFINITY;
    this.#user.deadlineChanged();
  }

  #setKeepAlive(time: number): void {
    this.#keepAliveAt = this.#user.now() + time;
    this.#user.deadlineChanged();
  }
}
