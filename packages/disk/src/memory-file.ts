import { type BlockFile, totalBytes } from "./block-file.ts";

const CHUNK = 65536;

/** A sparse file in memory: 64 KiB pieces, made when they are first written. */
export function memoryFile(initial?: Uint8Array): BlockFile {
  const chunks = new Map<number, Uint8Array>();
  let size = 0;
  const each = (offset: number, length: number, visit: (chunk: number, from: number, to: number) => void): void => {
    for (let at = offset; at < offset + length; ) {
      const chunk = Math.floor(at / CHUNK);
      const from = at - chunk * CHUNK;
      const to = Math.min(CHUNK, from + offset + length - at);
      visit(chunk, from, to);
      at += to - from;
    }
  };
  const clear = (offset: number, length: number): void =>
    each(offset, length, (chunk, from, to) => {
      if (to - from === CHUNK) chunks.delete(chunk);
      else chunks.get(chunk)?.fill(0, from, to);
    });
  const file: BlockFile = {
    get size() {
      return size;
    },
    readOnly: false,
    read(offset, into) {
      for (const buffer of into) {
        let at = 0;
        each(offset, buffer.length, (index, from, to) => {
          const chunk = chunks.get(index);
          if (chunk === undefined) buffer.fill(0, at, at + to - from);
          else buffer.set(chunk.subarray(from, to), at);
          at += to - from;
        });
        offset += buffer.length;
      }
    },
    write(offset, from) {
      size = Math.max(size, offset + totalBytes(from));
      for (const buffer of from) {
        let at = 0;
        each(offset, buffer.length, (index, start, end) => {
          let chunk = chunks.get(index);
          if (chunk === undefined) {
            chunk = new Uint8Array(CHUNK);
            chunks.set(index, chunk);
          }
          chunk.set(buffer.subarray(at, at + end - start), start);
          at += end - start;
        });
        offset += buffer.length;
      }
    },
    flush() {},
    truncate(length) {
      if (length < size) clear(length, Math.ceil(size / CHUNK) * CHUNK - length);
      size = length;
    },
    punch(offset, length) {
      clear(offset, Math.min(length, Math.max(0, size - offset)));
    },
    close() {
      chunks.clear();
    },
  };
  if (initial !== undefined) void file.write(0, [initial]);
  return file;
}
