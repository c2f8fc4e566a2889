/** The only source of time. One clock drives TSC, PV time, timers and the scheduler of a machine. */
export interface Clock {
  /** Nanoseconds since the machine started; never goes back. */
  now(): bigint;
  /** Nanoseconds since 1970-01-01 UTC at which {@link Clock.now} was 0: what a guest's wall clock shows. */
  readonly wallClockBase: bigint;
}

/** Receives named events; everything is skipped while {@link Trace.on} is false. */
export interface Trace {
  /** Whether anybody listens. */
  readonly on: boolean;
  /** Reports an event with two numbers whose meaning its name gives. */
  event(name: string, a: number, b: number): void;
}

/**
 * A machine's whole memory: one `WebAssembly.Memory`, allocated once, never grown, so views stay valid.
 * A machine address is an offset into it, an MFN that offset / 4096.
 */
export interface MachineMemory {
  /** Every byte, from machine address 0. */
  readonly bytes: Uint8Array;
  /** The same bytes for little-endian access of any width. */
  readonly view: DataView;
  /** The same bytes as aligned 32-bit words. */
  readonly words: Uint32Array;
  /** The same bytes as aligned 64-bit words: page tables read and write through this. */
  readonly quads: BigUint64Array;
  /** Frames in all, the engine's own included. */
  readonly frames: number;
  /** First frame that domains may own; below it lies the engine's state, which no guest may ever name. */
  readonly firstFrame: number;
}

/** A disk. Every sector number and count below is in units of 512 bytes, whatever {@link Disk.sectorSize} says. */
export interface Disk {
  /** 512-byte sectors in all; a multiple of `sectorSize / 512`. May change: see {@link Disk.onResize}. */
  readonly sectors: number;
  /** Bytes of the smallest piece that can be written by itself, as a guest is told; 512 when left out. */
  readonly sectorSize?: 512 | 4096;
  /** Whether writes are refused. */
  readonly readOnly: boolean;
  /**
   * Fills `into` from `sector` on; may answer at once (memory) or later (file, network). Fails with `OUT_OF_RANGE` past
   * the end, `IO` when the medium fails.
   */
  read(sector: number, into: readonly Uint8Array[]): void | Promise<void>;
  /** Writes `from` at `sector`; durable only after {@link Disk.flush}. `from` must stay as it is until the answer. */
  write(sector: number, from: readonly Uint8Array[]): void | Promise<void>;
  /** Resolves when all writes that were answered before the call are durable. */
  flush(): void | Promise<void>;
  /** Tells that `count` sectors are not needed any more; they read as zeros or as before. Missing: no use for it. */
  discard?(sector: number, count: number): void | Promise<void>;
  /** Makes `count` sectors read as zeros, without data being passed. Missing: write zeros. */
  writeZeroes?(sector: number, count: number): void | Promise<void>;
  /** Has `listener` called after {@link Disk.sectors} changed; answers how to stop that. */
  onResize?(listener: () => void): () => void;
  /** Flushes, and gives up files, locks and connections. Nothing may be asked afterwards. */
  close?(): void | Promise<void>;
}

/** What is still to be done to a frame by whoever puts it on a wire: the sender left it undone since nobody may need it. */
export interface PacketOffload {
  /** The TCP or UDP checksum holds the sum of the pseudo-header only. A receiver may take the data as intact. */
  readonly partialChecksum?: boolean;
  /** The frame is one large TCP segment, to be cut into pieces of this many bytes of payload (GSO). */
  readonly segmentSize?: number;
}

/** One end of a link that carries Ethernet frames, without their trailing checksum. */
export interface PacketPort {
  /** Whether {@link PacketPort.send} takes frames with a {@link PacketOffload}; otherwise the sender finishes them. */
  readonly takesOffloads?: boolean;
  /** Sends a frame; the port keeps no reference after the call returns. A full link drops it. */
  send(frame: Uint8Array, offload?: PacketOffload): void;
  /**
   * Sets the receiver of frames that come in; `undefined` drops them. A receiver that takes no offloads says so, and gets
   * finished frames. The frame is valid during the call only.
   */
  onPacket(
    receiver: ((frame: Uint8Array, offload?: PacketOffload) => void) | undefined,
    options?: { readonly takesOffloads?: boolean },
  ): void;
}

/** A byte stream with both directions, as a socket or a ring gives it. */
export interface ByteStream {
  /** Queues `bytes`; the stream keeps no reference after the call returns. */
  write(bytes: Uint8Array): void;
  /** Sets the receiver of bytes that come in. */
  onData(receiver: (bytes: Uint8Array) => void): void;
  /** Sets what is called once when either side closed the stream. */
  onClose(receiver: () => void): void;
  /** Closes the stream. */
  close(): void;
  /** Has what comes in wait until {@link ByteStream.resume}. Missing: it can't be held back. */
  pause?(): void;
  /** Lets what comes in flow again. */
  resume?(): void;
}

/**
 * The processor's view of who may touch a machine frame, kept by whoever owns frames (paging).
 * The engine consults it at every TLB fill, after the page tables themselves allowed the access.
 */
export interface FrameGuard {
  /** Gives `mfn` to `owner` (a domain id; 0x7fff for nobody) and drops every cached translation to it. */
  setOwner(mfn: number, owner: number): void;
  /** Allows or forbids writable TLB entries to `mfn`; forbidding drops those that exist. */
  setWritable(mfn: number, writable: boolean): void;
  /** Lets every domain read `mfn` through its page tables (the M2P table, say). */
  setReadableByAll(mfn: number, readable: boolean): void;
  /** Drops every cached translation to `mfn`, in all address spaces. Cheap when there is none. */
  forget(mfn: number): void;
  /** Must be called after bytes of `mfn` were written other than by guest instructions: drops code translated from it. */
  written(mfn: number): void;
}

/** Invalidation of cached translations by virtual address. */
export interface TlbPort {
  /** Drops the translation of the page at `address` in every address space. */
  flushPage(address: bigint): void;
  /** Drops all translations of the address space whose top-level table is `root`. */
  flushAddressSpace(root: number): void;
  /** Drops every translation. */
  flushAll(): void;
}
