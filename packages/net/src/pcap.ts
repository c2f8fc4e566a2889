import type { PacketOffload, PacketPort } from "@paravirt/core";

/** Where a record of frames goes. */
export interface PcapOptions {
  /** Gets the file's bytes, piece by piece; they must be copied before the call returns. */
  write(bytes: Uint8Array): void;
  /** Milliseconds since 1970, with as many digits as there are. */
  now(): number;
  /** Bytes kept of a frame (262,144: all of it). */
  readonly snapLength?: number;
}

const FILE_HEADER = 24;
const RECORD_HEADER = 16;
/** Microseconds, in the byte order of the writer: little-endian here. */
const MAGIC = 0xa1b2c3d4;
const LINKTYPE_ETHERNET = 1;
const SNAP_LENGTH = 262_144;

/**
 * Writes frames in the format that tcpdump and Wireshark read (pcap, draft-ietf-opsawg-pcap). Answers what takes a frame.
 * Large segments are written as they are, and checksums that were left undone show as wrong.
 */
export function createPcapWriter({ write, now, snapLength = SNAP_LENGTH }: PcapOptions): (frame: Uint8Array) => void {
  const header = new DataView(new ArrayBuffer(FILE_HEADER));
  header.setUint32(0, MAGIC, true);
  header.setUint16(4, 2, true);
  header.setUint16(6, 4, true);
  header.setUint32(16, snapLength, true);
  header.setUint32(20, LINKTYPE_ETHERNET, true);
  write(new Uint8Array(header.buffer));
  return (frame) => {
    const kept = Math.min(frame.length, snapLength);
    const record = new Uint8Array(RECORD_HEADER + kept);
    const view = new DataView(record.buffer);
    const microseconds = Math.floor(now() * 1000);
    view.setUint32(0, Math.floor(microseconds / 1e6), true);
    view.setUint32(4, microseconds % 1e6, true);
    view.setUint32(8, kept, true);
    view.setUint32(12, frame.length, true);
    record.set(kept === frame.length ? frame : frame.subarray(0, kept), RECORD_HEADER);
    write(record);
  };
}

/** The same port, with every frame that passes in either direction written down. */
export function teePcap(port: PacketPort, options: PcapOptions): PacketPort {
  const record = createPcapWriter(options);
  return {
    ...(port.takesOffloads === undefined ? {} : { takesOffloads: port.takesOffloads }),
    send(frame: Uint8Array, offload?: PacketOffload) {
      record(frame);
      port.send(frame, offload);
    },
    onPacket(receiver, settings) {
      if (receiver === undefined) port.onPacket(undefined);
      else
        port.onPacket((frame, offload) => {
          record(frame);
          receiver(frame, offload);
        }, settings);
    },
  };
}
