import { execFileSync, spawn } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { XS } from "@paravirt/xen-abi";
import {
  createMessageDecoder,
  createXenstore,
  decodeChunk,
  encodeMessage,
  type XenstoreMessage,
} from "@paravirt/xenstore";

const XENSTORED = "/usr/lib/xen-4.17/bin/xenstored";
const PRELOAD = new URL("../../bench/xenstore/without-xen.c", import.meta.url).pathname;
/** Domains that take part. */
export const DOMAINS = [0, 1, 2] as const;

/** One domain's connection to a store. */
export interface Peer {
  /** Sends a request; answers events and reply in the order in which they came. */
  ask(request: XenstoreMessage): Promise<XenstoreMessage[]>;
}

/** Debian's C xenstored, and a connection for each of {@link DOMAINS}. */
export interface TheirStore {
  readonly peers: readonly Peer[];
  /** Ends the daemon and removes what it needed. */
  close(): void;
}

/** The daemon as its connections see it. */
interface Daemon {
  /** Where its socket and the rings are. */
  readonly folder: string;
  /** Rejects when it ends: nobody waits for an answer of a dead one. */
  readonly ended: Promise<never>;
}

/**
 * Starts Debian's C xenstored, which a preloaded library lets serve domains without Xen: domain 0 on its socket, the
 * others on ring pages in files.
 */
export async function startTheirs(): Promise<TheirStore> {
  const folder = mkdtempSync(join(tmpdir(), "xenstored-oracle-"));
  execFileSync("gcc", ["-O2", "-shared", "-fPIC", "-o", join(folder, "preload.so"), PRELOAD]);
  execFileSync("mkfifo", [join(folder, "events")]);
  for (const domid of DOMAINS.slice(1)) {
    const file = openSync(join(folder, `ring-${domid}`), "w");
    ftruncateSync(file, 4096);
    closeSync(file);
  }
  const child = spawn(XENSTORED, ["--no-fork", "--internal-db", "--pid-file", join(folder, "pid")], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, LD_PRELOAD: join(folder, "preload.so"), XENSTORED_RUNDIR: folder, XENSTORED_RINGS: folder },
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    said = (said + text).slice(-1000);
  });
  const ended = new Promise<never>((_, reject) => {
    child.once("exit", (code, signal) => reject(new Error(`xenstored ended, ${signal ?? code}: ${said}`)));
  });
  ended.catch(() => {});
  const close = (): void => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true });
  };
  while (!existsSync(join(folder, "socket"))) {
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 10))]);
  }
  const daemon = { folder, ended };
  const zero = socketPeer(daemon);
  for (const domid of DOMAINS.slice(1)) {
    const body = Buffer.from(`${domid}\x001\x001\0`);
    const [reply] = await zero.ask({ type: XS.INTRODUCE, requestId: 1, transactionId: 0, body });
    if (reply?.type !== XS.INTRODUCE) throw new Error(`domain ${domid} wasn't introduced: ${textOf(reply!)}`);
  }
  return { peers: [zero, ...DOMAINS.slice(1).map((domid) => ringPeer(daemon, domid))], close };
}

function socketPeer({ folder, ended }: Daemon): Peer {
  // The daemon's end is told by `ended`.
  const socket = connect(join(folder, "socket")).on("error", () => {});
  const decoder = createMessageDecoder();
  let heard: XenstoreMessage[] = [];
  let answered: () => void = () => {};
  socket.on("data", (bytes) => {
    decodeChunk(decoder, bytes, (message) => {
      heard.push(message);
      if (message.type !== XS.WATCH_EVENT) answered();
    });
  });
  return {
    async ask(request) {
      const reply = new Promise<void>((resolve) => {
        answered = resolve;
      });
      socket.write(encodeMessage(request));
      await Promise.race([reply, ended]);
      const all = heard;
      heard = [];
      return all;
    },
  };
}

/** A guest's end of a ring page (docs/misc/xenstore-ring.txt) that lies in a file. */
function ringPeer({ folder, ended }: Daemon, domid: number): Peer {
  const page = openSync(join(folder, `ring-${domid}`), "r+");
  const events = openSync(join(folder, "events"), "r+");
  const decoder = createMessageDecoder();
  const [producer, consumer] = [Buffer.alloc(4), Buffer.alloc(4)];
  let [sent, taken] = [0, 0];
  const put = (bytes: Uint8Array): number => {
    readSync(page, consumer, 0, 4, 2048);
    const room = 1024 - (sent - consumer.readUInt32LE());
    const count = Math.min(room, bytes.length);
    for (let at = 0; at < count; at++) writeSync(page, bytes, at, 1, (sent + at) & 1023);
    sent += count;
    producer.writeUInt32LE(sent);
    writeSync(page, producer, 0, 4, 2052);
    return count;
  };
  const take = (): Uint8Array => {
    readSync(page, producer, 0, 4, 2060);
    const bytes = Buffer.alloc(producer.readUInt32LE() - taken);
    for (let at = 0; at < bytes.length; at++) readSync(page, bytes, at, 1, 1024 + ((taken + at) & 1023));
    taken += bytes.length;
    consumer.writeUInt32LE(taken);
    writeSync(page, consumer, 0, 4, 2056);
    return bytes;
  };
  const signal = Buffer.from([100 + domid]);
  return {
    async ask(request) {
      const heard: XenstoreMessage[] = [];
      let answered = false;
      for (let bytes = encodeMessage(request); !answered; ) {
        const count = put(bytes);
        bytes = bytes.subarray(count);
        const got = take();
        if (count > 0 || got.length > 0) writeSync(events, signal);
        decodeChunk(decoder, got, (message) => {
          heard.push(message);
          if (message.type !== XS.WATCH_EVENT) answered = true;
        });
        if (!answered) await Promise.race([ended, new Promise((resolve) => setImmediate(resolve))]);
      }
      return heard;
    },
  };
}

/** Our store in this process, with a connection for each of {@link DOMAINS}. */
export function ourPeers(): Peer[] {
  const store = createXenstore();
  for (const domid of DOMAINS.slice(1)) store.introduce(domid, { page: new Uint8Array(4096), notify() {} });
  return DOMAINS.map((domid) => {
    let heard: XenstoreMessage[] = [];
    const connection = store.connect(domid, (message) => heard.push(message));
    return {
      ask(request) {
        connection.handle(request);
        const all = heard;
        heard = [];
        return Promise.resolve(all);
      },
    };
  });
}

/** A message as one line; `|` stands for NUL. */
export function textOf({ type, body }: XenstoreMessage): string {
  return `${type} ${Buffer.from(body).toString("latin1").replaceAll("\0", "|")}`;
}
