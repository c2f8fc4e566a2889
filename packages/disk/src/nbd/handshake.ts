import { type ByteStream, ParavirtError } from "@paravirt/core";
import { encodeGo, encodeOption, HANDSHAKE, INFO, NBD, OPTION, optionError, REPLY } from "./protocol.ts";
import type { StreamReader } from "./reader.ts";

/** What a server says of an export. */
export interface NbdExport {
  /** Bytes. */
  size: number;
  flags: number;
  /** The smallest piece that can be read or written, in bytes. */
  minimumBlock: number;
  /** The most bytes that a request may be about. */
  maximumRequest: number;
  structured: boolean;
}

const LONGEST_ANSWER = 65536;

/** Does the newstyle handshake up to where requests may be sent. Throws `UNAVAILABLE` with what the server says. */
export async function shakeHands(stream: ByteStream, reader: StreamReader, name: Uint8Array): Promise<NbdExport> {
  const hello = await reader.take(16);
  if (hello.getBigUint64(0) !== NBD.magic) throw wrong("what answers is no NBD server");
  if (hello.getBigUint64(8) === NBD.oldStyleMagic)
    throw new ParavirtError("UNSUPPORTED", "an NBD server with the oldstyle handshake; newstyle is known");
  if (hello.getBigUint64(8) !== NBD.optionMagic) throw wrong("what answers is no NBD server");
  const flags = (await reader.take(2)).getUint16(0);
  const noZeroes = (flags & HANDSHAKE.noZeroes) !== 0;
  const isFixed = (flags & HANDSHAKE.fixedNewStyle) !== 0;
  const answer = new Uint8Array(4);
  new DataView(answer.buffer).setUint32(
    0,
    (isFixed ? HANDSHAKE.fixedNewStyle : 0) | (noZeroes ? HANDSHAKE.noZeroes : 0),
  );
  stream.write(answer);

  const found: NbdExport = { size: 0, flags: 0, minimumBlock: 1, maximumRequest: 32 << 20, structured: false };
  if (isFixed) {
    stream.write(encodeOption(OPTION.structuredReply, new Uint8Array(0)));
    found.structured = (await readReply(reader, OPTION.structuredReply)).type === REPLY.ack;
    if (await go(stream, reader, name, found)) return found;
  }
  // Servers from before `go`.
  stream.write(encodeOption(OPTION.exportName, name));
  const old = await reader.take(10);
  found.size = Number(old.getBigUint64(0));
  found.flags = old.getUint16(8);
  if (!noZeroes) await reader.skip(124);
  return found;
}

async function go(stream: ByteStream, reader: StreamReader, name: Uint8Array, found: NbdExport): Promise<boolean> {
  stream.write(encodeOption(OPTION.go, encodeGo(name)));
  for (;;) {
    const { type, data } = await readReply(reader, OPTION.go);
    if (type === REPLY.ack) return true;
    if (type === REPLY.unsupported) return false;
    if (type >= REPLY.error) {
      const said = String.fromCharCode(...new Uint8Array(data.buffer).subarray(0, 200)).replace(/[^ -~]/g, "?");
      throw wrong(`the NBD server ${optionError(type)}${said === "" ? "" : `: ${said}`}`);
    }
    if (type !== REPLY.info || data.byteLength < 2)
      throw wrong(`the NBD server answers with ${type}, which isn't known`);
    const kind = data.getUint16(0);
    if (kind === INFO.export && data.byteLength >= 12) {
      found.size = Number(data.getBigUint64(2));
      found.flags = data.getUint16(10);
    } else if (kind === INFO.blockSize && data.byteLength >= 14) {
      found.minimumBlock = data.getUint32(2);
      found.maximumRequest = Math.min(found.maximumRequest, data.getUint32(10));
    }
  }
}

async function readReply(
  reader: StreamReader,
  option: number,
): Promise<{ readonly type: number; readonly data: DataView }> {
  const head = await reader.take(20);
  const length = head.getUint32(16);
  if (head.getBigUint64(0) !== NBD.replyMagic || head.getUint32(8) !== option || length > LONGEST_ANSWER)
    throw wrong("the NBD server's answer to an option makes no sense");
  return { type: head.getUint32(12), data: await reader.take(length) };
}

function wrong(what: string): ParavirtError {
  return new ParavirtError("UNAVAILABLE", what);
}
