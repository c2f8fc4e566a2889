import { type PacketPort, ParavirtError } from "@paravirt/core";

/** A stream of bytes with both directions, and how much of it waits: a unix socket, say. */
export interface FrameStream {
  /** Bytes that were written and not yet taken. */
  readonly queued: number;
  /** Queues `bytes`; keeps no reference after the call returns. */
  write(bytes: Uint8Array): void;
  /** Sets the receiver of bytes that come in. */
  onData(receiver: (bytes: Uint8Array) => void): void;
  /** Sets what is called once when either side closed the stream. */
  onClose(receiver: () => void): void;
  /** Closes the stream. */
  close(): void;
}

/** Settings of {@link streamPort}. */
export interface StreamPortOptions {
  /** Bytes that may wait in the stream (4 MiB); further frames are dropped. */
  readonly maxQueued?: number;
  /** Told once when the stream has ended: with why, if the other side broke the protocol. */
  readonly onClose?: (error: ParavirtError | undefined) => void;
}

/** A port on a stream. */
export interface StreamPort extends PacketPort {
  /** Frames that were dropped since the stream was full. */
  readonly dropped: number;
  /** Closes the stream. */
  close(): void;
}

const LENGTH = 4;
const MAX_QUEUED = 4 * 1024 * 1024;
/** What a frame's length may be at most: more than Ethernet's headers and the longest IP datagram is a broken stream. */
const MAX_FRAME = 0xffff + 18;
const LEAST_FRAME = 14;

/**
 * A port on a stream in which each frame stands behind its length, 32 bits big-endian: what passt(1) talks on its socket, and
 * QEMU with `-netdev stream`. Nothing is left undone in these frames.
 */
export function streamPort(stream: FrameStream, options: StreamPortOptions = {}): StreamPort {
  const { maxQueued = MAX_QUEUED, onClose } = options;
  let receiver: ((frame: Uint8Array) => void) | undefined;
  let dropped = 0;
  let open = true;
  const end = (error: ParavirtError | undefined): void => {
    if (!open) return;
    open = false;
    if (error !== undefined) stream.close();
    onClose?.(error);
  };
  const decoder = createFrameDecoder(
    (frame) => {
      if (open) receiver?.(frame);
    },
    (length) => end(new ParavirtError("IO", `a frame of ${length} bytes: the other end talks something else`)),
  );
  stream.onData((bytes) => {
    if (open) decoder(bytes);
  });
  stream.onClose(() => end(undefined));
  return {
    get dropped() {
      return dropped;
    },
    send(frame) {
      if (!open) return;
      if (frame.length > MAX_FRAME || stream.queued + frame.length + LENGTH > maxQueued) {
        dropped++;
        return;
      }
      const bytes = new Uint8Array(LENGTH + frame.length);
      new DataView(bytes.buffer).setUint32(0, frame.length);
      bytes.set(frame, LENGTH);
      stream.write(bytes);
    },
    onPacket(next) {
      receiver = next;
    },
    close() {
      if (!open) return;
      open = false;
      stream.close();
    },
  };
}

/** Cuts a stream into frames. `onBroken` is told of a length that no frame has; nothing is read after it. */
function createFrameDecoder(
  onFrame: (frame: Uint8Array) => void,
  onBroken: (length: number) => void,
): (bytes: Uint8Array) => void {
  const kept = new Uint8Array(LENGTH + MAX_FRAME);
  let used = 0;
  /** Length of the frame at `at`, or -1 where it isn't known. */
  const lengthAt = (bytes: Uint8Array, at: number, end: number): number =>
    end - at < LENGTH
      ? -1
      : ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
  return (bytes) => {
    let at = 0;
    while (at < bytes.length || used > 0) {
      if (used === 0) {
        const length = lengthAt(bytes, at, bytes.length);
        if (length >= 0 && (length < LEAST_FRAME || length > MAX_FRAME)) {
          onBroken(length);
          return;
        }
        if (length >= 0 && bytes.length - at >= LENGTH + length) {
          onFrame(bytes.subarray(at + LENGTH, at + LENGTH + length));
          at += LENGTH + length;
          continue;
        }
      }
      // A frame in pieces is put together first.
      const known = lengthAt(kept, 0, used);
      const wanted = known < 0 ? LENGTH : LENGTH + known;
      const count = Math.min(wanted - used, bytes.length - at);
      kept.set(bytes.subarray(at, at + count), used);
      used += count;
      at += count;
      const length = lengthAt(kept, 0, used);
      if (length >= 0 && (length < LEAST_FRAME || length > MAX_FRAME)) {
        onBroken(length);
        return;
      }
      if (length >= 0 && used === LENGTH + length) {
        used = 0;
        onFrame(kept.subarray(LENGTH, LENGTH + length));
      } else if (at === bytes.length) return;
    }
  };
}
