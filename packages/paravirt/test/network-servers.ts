// Servers on the host's loopback for guests under test.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, type Hash } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { createServer, get, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface WebServer {
  readonly port: number;
  /** Sums of what was sent to `/upload`, in order. */
  readonly uploads: readonly string[];
  close(): void;
}

const PIECE = 65536;

/** The bytes of a made-up file, the same each time; `piece` is a number from 0. */
function fillPiece(bytes: Uint32Array, piece: number): void {
  let state = (piece + 1) * 0x9e3779b1;
  for (let at = 0; at < bytes.length; at++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5;
    bytes[at] = state;
  }
}

/** The MD5 sum of the file that `/file/MIB` answers. */
export function fileSum(mebibytes: number): string {
  const sum = createHash("md5");
  for (const piece of filePieces(mebibytes)) sum.update(piece);
  return sum.digest("hex");
}

function* filePieces(mebibytes: number): Generator<Buffer> {
  for (let piece = 0; piece < mebibytes * 16; piece++) {
    const words = new Uint32Array(PIECE / 4);
    fillPiece(words, piece);
    yield Buffer.from(words.buffer);
  }
}

/**
 * `/file/MIB` answers a made-up file, `/together/COUNT/N` answers N once there are COUNT such requests at the same time,
 * `/upload` takes a body, anything else is answered with its path.
 */
export async function startWebServer(): Promise<WebServer> {
  const uploads: string[] = [];
  let waiting: { response: ServerResponse; text: string }[] = [];
  const server: Server = createServer((request, response) => {
    const [, kind, first, second] = (request.url ?? "").split("/");
    if (kind === "file") {
      const pieces = filePieces(Number(first));
      response.setHeader("content-length", Number(first) * 16 * PIECE);
      const send = (): void => {
        for (let next = pieces.next(); next.done !== true; next = pieces.next())
          if (!response.write(next.value)) return;
        response.end();
      };
      response.on("drain", send);
      send();
    } else if (kind === "together") {
      waiting.push({ response, text: `${second}\n` });
      if (waiting.length < Number(first)) return;
      for (const one of waiting) one.response.end(one.text);
      waiting = [];
    } else if (kind === "upload") {
      const sum: Hash = createHash("md5");
      request.on("data", (bytes) => sum.update(bytes));
      request.on("end", () => {
        uploads.push(sum.digest("hex"));
        response.end("taken\n");
      });
    } else response.end(`${request.url}\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    uploads,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Debian's iperf3 as a server for one test after another. */
export async function startIperf(): Promise<{ readonly port: number; close(): void }> {
  const port = await freePort();
  const child: ChildProcess = spawn("iperf3", ["-s", "-B", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
  return { port, close: () => void child.kill() };
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A name server that knows one IPv4 address for each of `names`, and no other name. */
export async function startNameServer(
  names: Readonly<Record<string, string>>,
): Promise<{ readonly port: number; close(): void }> {
  const socket: Socket = createSocket("udp4");
  socket.on("message", (query, from) => {
    // RFC 1035 4.1: a header of 12 bytes, then labels, type and class of the only question.
    let at = 12;
    const labels: string[] = [];
    while (query[at] !== 0) {
      labels.push(query.toString("ascii", at + 1, at + 1 + query[at]!));
      at += 1 + query[at]!;
    }
    const type = query.readUInt16BE(at + 1);
    const address = names[labels.join(".").toLowerCase()];
    const answer = Buffer.from(query.subarray(0, at + 5));
    answer.writeUInt16BE(address === undefined ? 0x8183 : 0x8180, 2);
    for (const count of [6, 8, 10]) answer.writeUInt16BE(0, count);
    if (address === undefined || type !== 1) return void socket.send(answer, from.port, from.address);
    answer.writeUInt16BE(1, 6);
    // A pointer to the question's name, type A, class IN, a minute, four bytes.
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split(".").map(Number)]);
    socket.send(Buffer.concat([answer, record]), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return { port: socket.address().port, close: () => socket.close() };
}

/** Gets a page and answers its body's MD5 sum. */
export function fetchSum(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, (response) => {
      const sum = createHash("md5");
      response.on("data", (bytes) => sum.update(bytes));
      response.on("end", () => resolve(sum.digest("hex")));
      response.on("error", reject);
    }).on("error", reject);
  });
}
