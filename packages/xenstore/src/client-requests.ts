import { ParavirtError } from "@paravirt/core";
import { XENSTORE_PAYLOAD_MAX, XS } from "@paravirt/xen-abi";
import { isXenstoreErrno, XenstoreError } from "./errors.ts";
import type { XenstoreLink } from "./link.ts";
import { latin1Decode } from "./text.ts";
import type { XenstoreMessage } from "./wire.ts";

/** Sends requests and finds the reply to each. */
export interface Requests {
  /** Answers the reply's body. */
  send(type: number, transactionId: number, body: Uint8Array): Promise<Uint8Array>;
  close(): void;
}

interface Pending {
  readonly type: number;
  readonly resolve: (body: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

/** Makes the request side of a client over `link`. */
export function createRequests(
  link: XenstoreLink,
  events: { onEvent(path: string, token: string): void; onClose(): void },
): Requests {
  const pending = new Map<number, Pending>();
  let nextId = 1;
  let closedBy: string | undefined;
  const onClose = (reason: string): void => {
    if (closedBy !== undefined) return;
    closedBy = reason;
    for (const { reject } of pending.values()) reject(new XenstoreError("CLOSED", `connection closed: ${reason}`));
    pending.clear();
    events.onClose();
  };
  link.start((message) => {
    if (message.type === XS.WATCH_EVENT) {
      const [path = "", token = ""] = latin1Decode(message.body).split("\0");
      events.onEvent(path, token);
      return;
    }
    const request = pending.get(message.requestId);
    pending.delete(message.requestId);
    if (request !== undefined) settle(request, message);
  }, onClose);
  return {
    send(type, transactionId, body) {
      if (body.length > XENSTORE_PAYLOAD_MAX) {
        // A store kills the connection of a client that sends so much.
        const limit = `${body.length} bytes of path and value; the limit is ${XENSTORE_PAYLOAD_MAX}`;
        return Promise.reject(new ParavirtError("OUT_OF_RANGE", `a xenstore request can't have ${limit}`));
      }
      if (closedBy !== undefined) return Promise.reject(new XenstoreError("CLOSED", `connection closed: ${closedBy}`));
      return new Promise((resolve, reject) => {
        while (pending.has(nextId) || nextId === 0) nextId = (nextId + 1) >>> 0;
        const requestId = nextId;
        nextId = (nextId + 1) >>> 0;
        pending.set(requestId, { type, resolve, reject });
        link.send({ type, requestId, transactionId, body });
      });
    },
    close() {
      link.close();
      onClose("closed");
    },
  };
}

function settle(request: Pending, reply: XenstoreMessage): void {
  if (reply.type === request.type) {
    request.resolve(reply.body);
    return;
  }
  const text = latin1Decode(reply.body, 0, Math.max(0, reply.body.indexOf(0)));
  const code = reply.type === XS.ERROR && isXenstoreErrno(text) ? text : "EIO";
  request.reject(new XenstoreError(code, `the store answered ${text || `a message of type ${reply.type}`}`));
}
