import type {
  HostConnection,
  HostConnectionHandler,
  HostDatagramListener,
  HostDatagramsHandler,
  HostFailure,
  HostPeer,
  NetworkHost,
} from "../src/index.ts";

/** A program on the virtual host's side of a connection; what it answers gets what happens. */
export type Program = (socket: ProgramSocket) => ProgramEvents;

/** What a program can do. */
export interface ProgramSocket {
  write(bytes: Uint8Array): void;
  end(): void;
  reset(): void;
  /** Takes no more until {@link ProgramSocket.resume}: the guest's data piles up. */
  pause(): void;
  resume(): void;
}

/** What a program hears. */
export interface ProgramEvents {
  onData?(bytes: Uint8Array): void;
  onEnd?(): void;
  onReset?(): void;
  /** The guest's side takes data again. */
  onResume?(): void;
}

interface Event {
  readonly at: number;
  readonly work: () => void;
}

/** A world in memory whose time passes only when all has been done. */
export class VirtualHost implements NetworkHost {
  readonly servers = new Map<string, Program>();
  readonly udpServers = new Map<string, (bytes: Uint8Array) => readonly Uint8Array[]>();
  readonly names = new Map<string, readonly string[]>();
  readonly listeners = new Map<number, (connection: HostConnection) => HostConnectionHandler | undefined>();
  readonly datagramListeners = new Map<number, (bytes: Uint8Array, from: HostPeer) => void>();
  /** What published ports sent. */
  readonly datagramsSent: { from: number; to: HostPeer; bytes: Uint8Array }[] = [];
  resolvers: readonly string[] = [];
  /** Milliseconds until something at the host happens. */
  delay = 1;
  /** In order of time. */
  readonly #events: Event[] = [];
  #now = 0;
  #random: number;

  constructor(seed = 1) {
    this.#random = seed;
  }

  now(): number {
    return this.#now;
  }

  after(milliseconds: number, work: () => void): () => void {
    const event = { at: this.#now + milliseconds, work };
    let at = this.#events.length;
    while (at > 0 && this.#events[at - 1]!.at > event.at) at--;
    this.#events.splice(at, 0, event);
    return () => {
      const index = this.#events.indexOf(event);
      if (index >= 0) this.#events.splice(index, 1);
    };
  }

  /** The same numbers for the same seed (mulberry32). */
  random(): number {
    this.#random = (this.#random + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#random ^ (this.#random >>> 15), this.#random | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** Runs until nothing is left to do, `done` says so, or so many milliseconds have passed. */
  async run(limit: number, done: () => boolean = () => false): Promise<void> {
    const end = this.#now + limit;
    for (;;) {
      for (let turn = 0; turn < 4; turn++) await undefined;
      if (done()) return;
      const next = this.#events[0];
      if (next === undefined || next.at > end) {
        this.#now = end;
        return;
      }
      this.#events.shift();
      this.#now = Math.max(this.#now, next.at);
      next.work();
    }
  }

  connect(address: string, port: number, handler: HostConnectionHandler): HostConnection {
    const program = this.servers.get(`${address}:${port}`);
    const connection = new VirtualConnection(this, handler);
    if (program === undefined) this.after(this.delay, () => connection.fail("refused"));
    else
      this.after(this.delay, () => {
        if (connection.isOver) return;
        handler.onOpen?.();
        connection.events = program(connection.program);
      });
    return connection;
  }

  /** A program of the outside connects to a published port. */
  dial(port: number, program: Program): void {
    const accept = this.listeners.get(port);
    if (accept === undefined) throw new Error(`nobody listens at ${port}`);
    let handler: HostConnectionHandler | undefined;
    const connection = new VirtualConnection(this, {
      onData: (bytes) => handler!.onData(bytes),
      onDrain: () => handler!.onDrain(),
      onEnd: () => handler!.onEnd(),
      onClose: (failure) => handler!.onClose(failure),
    });
    handler = accept(connection);
    this.after(this.delay, () => {
      connection.events = program(connection.program);
      if (handler === undefined) connection.events.onReset?.();
    });
  }

  openDatagrams(
    address: string,
    port: number,
    handler: HostDatagramsHandler,
  ): { send(bytes: Uint8Array): void; close(): void } {
    let open = true;
    return {
      send: (bytes) => {
        const server = this.udpServers.get(`${address}:${port}`);
        const copy = bytes.slice();
        this.after(this.delay, () => {
          if (!open) return;
          if (server === undefined) handler.onUnreachable();
          else for (const answer of server(copy)) handler.onMessage(answer);
        });
      },
      close: () => {
        open = false;
      },
    };
  }

  async listen(
    _address: string | undefined,
    port: number,
    accept: (connection: HostConnection) => HostConnectionHandler | undefined,
  ): Promise<{ port: number; close(): void }> {
    this.listeners.set(port, accept);
    return { port, close: () => this.listeners.delete(port) };
  }

  async listenDatagrams(
    _address: string | undefined,
    port: number,
    onMessage: (bytes: Uint8Array, from: HostPeer) => void,
  ): Promise<HostDatagramListener> {
    this.datagramListeners.set(port, onMessage);
    return {
      port,
      send: (bytes, to) => {
        const copy = bytes.slice();
        this.after(this.delay, () => this.datagramsSent.push({ from: port, to, bytes: copy }));
      },
      close: () => this.datagramListeners.delete(port),
    };
  }

  nameServers(): readonly string[] {
    return this.resolvers;
  }

  localAddresses(name: string): readonly string[] {
    return this.names.get(name) ?? [];
  }
}

class VirtualConnection implements HostConnection {
  readonly program: ProgramSocket;
  events: ProgramEvents = {};
  isOver = false;
  readonly #host: VirtualHost;
  readonly #handler: HostConnectionHandler;
  /** What the guest wrote and the program hasn't taken. */
  readonly #pending: Uint8Array[] = [];
  #queued = 0;
  #paused = false;
  #guestEnd = false;
  #programEnd = false;
  #guestPaused = false;
  readonly #early: (() => void)[] = [];

  constructor(host: VirtualHost, handler: HostConnectionHandler) {
    this.#host = host;
    this.#handler = handler;
    this.program = {
      write: (bytes) => {
        const copy = bytes.slice();
        this.#toGuest(() => handler.onData(copy));
      },
      end: () => {
        this.#toGuest(() => {
          this.#programEnd = true;
          handler.onEnd();
          this.#closeWhenDone();
        });
      },
      reset: () => this.#host.after(this.#host.delay, () => this.fail("reset")),
      pause: () => {
        this.#paused = true;
      },
      resume: () => {
        this.#paused = false;
        this.#drain();
      },
    };
  }

  get queued(): number {
    return this.#queued;
  }

  write(bytes: Uint8Array): void {
    if (this.#guestEnd) throw new Error("written after its end");
    this.#pending.push(bytes.slice());
    this.#queued += bytes.length;
    this.#host.after(this.#host.delay, () => this.#drain());
  }

  end(): void {
    this.#guestEnd = true;
    this.#host.after(this.#host.delay, () => this.#drain());
  }

  reset(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#host.after(this.#host.delay, () => {
      this.events.onReset?.();
      this.#handler.onClose(undefined);
    });
  }

  pause(): void {
    this.#guestPaused = true;
  }

  resume(): void {
    this.#guestPaused = false;
    const early = this.#early.splice(0);
    for (const work of early) this.#toGuest(work);
    this.#host.after(this.#host.delay, () => this.events.onResume?.());
  }

  get isGuestPaused(): boolean {
    return this.#guestPaused;
  }

  fail(failure: HostFailure): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#handler.onClose(failure);
  }

  #toGuest(work: () => void): void {
    this.#host.after(this.#host.delay, () => {
      if (this.isOver) return;
      if (this.#guestPaused || this.#early.length > 0) this.#early.push(work);
      else work();
    });
  }

  #drain(): void {
    if (this.isOver || this.#paused) return;
    const had = this.#queued > 0;
    for (
      let bytes = this.#pending.shift();
      bytes !== undefined;
      bytes = this.#paused ? undefined : this.#pending.shift()
    ) {
      this.#queued -= bytes.length;
      this.events.onData?.(bytes);
    }
    if (this.#queued > 0) return;
    if (had) this.#handler.onDrain();
    if (this.#guestEnd && !this.isOver) {
      this.events.onEnd?.();
      this.events = { ...this.events, onEnd: () => {} };
      this.#closeWhenDone();
    }
  }

  #closeWhenDone(): void {
    if (!this.#guestEnd || !this.#programEnd || this.isOver || this.#queued > 0) return;
    this.isOver = true;
    this.#host.after(this.#host.delay, () => this.#handler.onClose(undefined));
  }
}
