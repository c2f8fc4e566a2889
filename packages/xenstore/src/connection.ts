import { XENSTORE_PAYLOAD_MAX, XS } from "@paravirt/xen-abi";
import { controlStore, type DomainHooks, domainOperation, type PrivilegedRequest } from "./domain-operations.ts";
import type { XenstoreErrno } from "./errors.ts";
import type { Outbox } from "./journal.ts";
import {
  listNode,
  listNodePart,
  makeNode,
  type NodeCall,
  permissionsOfNode,
  readNode,
  removeNode,
  resolvePath,
  setNodePermissions,
  writeNode,
} from "./operations.ts";
import { isSpecial } from "./path.ts";
import { formatPermission, isAllowed, type Permissions } from "./permissions.ts";
import { isOver } from "./quota.ts";
import { decodeRequest, type XenstoreRequest } from "./request.ts";
import { specialName } from "./special.ts";
import type { DomainState, StoreState } from "./state.ts";
import { latin1Encode } from "./text.ts";
import { Transaction } from "./transaction.ts";
import type { Change } from "./view.ts";
import type { Watch } from "./watches.ts";
import type { XenstoreMessage } from "./wire.ts";

/** One client of the store: takes requests, answers and sends watch events through the function it was made with. */
export interface XenstoreConnection {
  /** Whose rights it has. */
  readonly domid: number;
  /**
   * Carries one request out; the reply has been sent when it returns, or waits for a journal. Nothing that a client sends
   * makes it throw.
   */
  handle(request: XenstoreMessage): void;
  /** Drops watches, transactions and replies that wait for a journal; the connection stays usable. */
  reset(): void;
  /** Drops watches and transactions for good. */
  close(): void;
}

const OK = latin1Encode("OK\0");
type Outcome = Uint8Array | XenstoreErrno | undefined;

/** A client's state: its watches and transactions. */
export class Connection implements XenstoreConnection {
  readonly #state: StoreState;
  readonly #domain: DomainState;
  readonly #hooks: DomainHooks;
  readonly #outbox: Outbox;
  readonly #watches: Watch[] = [];
  readonly #transactions = new Map<number, Transaction>();
  #lastTransaction = 0;
  #closed = false;

  constructor(state: StoreState, domid: number, hooks: DomainHooks, send: (message: XenstoreMessage) => void) {
    this.#state = state;
    this.#domain = state.domain(domid);
    this.#hooks = hooks;
    this.#outbox = state.recorder.outbox(send);
  }

  get domid(): number {
    return this.#domain.domid;
  }

  handle(message: XenstoreMessage): void {
    if (this.#closed) return;
    const request = decodeRequest(message.type, message.body);
    if (typeof request === "string") {
      this.#reply(message, request);
      return;
    }
    if (request.kind === "watch") {
      // The acknowledgement comes before the first event; for a write it is the other way round.
      const watch = this.#addWatch(request);
      this.#reply(message, typeof watch === "string" ? watch : undefined);
      if (typeof watch !== "string") watch.fire(watch.sentPath);
      return;
    }
    this.#reply(
      message,
      this.#state.recorder.operation(() => this.#execute(message, request)),
    );
  }

  reset(): void {
    this.#outbox.drop();
    this.#dropAll();
  }

  #dropAll(): void {
    for (const watch of this.#watches) this.#state.watches.remove(watch);
    this.#domain.watches -= this.#watches.length;
    this.#watches.length = 0;
    this.#domain.transactions -= this.#transactions.size;
    this.#transactions.clear();
  }

  close(): void {
    this.reset();
    this.#closed = true;
  }

  #reply(request: XenstoreMessage, outcome: Outcome): void {
    const tooLong = typeof outcome === "object" && outcome.length > XENSTORE_PAYLOAD_MAX;
    const result = tooLong ? "E2BIG" : outcome;
    const failed = typeof result === "string";
    this.#outbox.send({
      type: failed ? XS.ERROR : request.type,
      requestId: request.requestId,
      transactionId: request.transactionId,
      body: failed ? latin1Encode(`${result}\0`) : (result ?? OK),
    });
  }

  #execute(message: XenstoreMessage, request: Exclude<XenstoreRequest, { kind: "watch" }>): Outcome {
    switch (request.kind) {
      case "unwatch":
        return this.#removeWatch(request.path, request.token);
      case "reset-watches":
        this.#dropAll();
        return undefined;
      case "transaction-start":
        return this.#startTransaction(message.transactionId);
      case "transaction-end":
        return this.#endTransaction(message.transactionId, request.commit);
      case "read":
      case "write":
      case "mkdir":
      case "rm":
      case "directory":
      case "directory-part":
      case "get-perms":
      case "set-perms":
        return this.#onNode(message.transactionId, request);
      case "control":
        return this.#domain.caller.privileged ? controlStore(this.#state, request.words) : "EACCES";
      default:
        return this.#onDomains(request);
    }
  }

  #onDomains(request: PrivilegedRequest): Outcome {
    if (request.kind !== "get-domain-path" && !this.#domain.caller.privileged) return "EACCES";
    return domainOperation(this.#state, this.#hooks, request, this.#domain.domid);
  }

  #onNode(transactionId: number, request: NodeRequest): Outcome {
    if (isSpecial(request.path)) return this.#onSpecial(request);
    const path = resolvePath(this.#domain.caller, request.path);
    if (path === undefined) return "EINVAL";
    const call = this.#nodeCall(transactionId);
    if (typeof call === "string") return call;
    switch (request.kind) {
      case "read":
        return readNode(call, path);
      case "directory":
        return listNode(call, path);
      case "directory-part":
        return listNodePart(call, path, request.offset);
      case "get-perms": {
        const permissions = permissionsOfNode(call, path);
        return typeof permissions === "string" ? permissions : encodePermissions(permissions);
      }
      case "write":
        return writeNode(call, path, request.value);
      case "mkdir":
        return makeNode(call, path);
      case "rm":
        return removeNode(call, path);
      case "set-perms":
        return setNodePermissions(call, path, request.permissions);
    }
  }

  #onSpecial(request: NodeRequest): Outcome {
    const name = specialName(request.path);
    const { caller } = this.#domain;
    if (name === undefined || (request.kind !== "set-perms" && request.kind !== "get-perms")) return "EINVAL";
    if (request.kind === "get-perms") {
      const permissions = this.#state.specials.get(name)!;
      return isAllowed(caller, permissions, "read") ? encodePermissions(permissions) : "EACCES";
    }
    if (!caller.privileged) return "EACCES";
    this.#state.setSpecial(name, request.permissions);
    return undefined;
  }

  #nodeCall(transactionId: number): NodeCall | XenstoreErrno {
    const { caller } = this.#domain;
    const quotas = this.#domain.quotas;
    if (transactionId === 0) return { caller, view: this.#state.direct, quotas };
    const transaction = this.#transactions.get(transactionId);
    if (transaction === undefined) return "ENOENT";
    if (!caller.privileged && isOver(quotas["transaction-nodes"], transaction.touched + 1)) return "ENOSPC";
    return { caller, view: transaction, quotas };
  }

  #startTransaction(transactionId: number): Outcome {
    if (transactionId !== 0) return this.#transactions.has(transactionId) ? "EBUSY" : "ENOENT";
    const domain = this.#domain;
    const limit = domain.quotas.transactions;
    if (!domain.caller.privileged && isOver(limit, domain.transactions + 1)) return "ENOSPC";
    do this.#lastTransaction = (this.#lastTransaction + 1) >>> 0;
    while (this.#lastTransaction === 0 || this.#transactions.has(this.#lastTransaction));
    this.#transactions.set(this.#lastTransaction, new Transaction(this.#state.tree));
    domain.transactions++;
    return latin1Encode(`${this.#lastTransaction}\0`);
  }

  #endTransaction(transactionId: number, commit: boolean): Outcome {
    const transaction = this.#transactions.get(transactionId);
    if (transaction === undefined) return "ENOENT";
    this.#transactions.delete(transactionId);
    this.#domain.transactions--;
    if (!commit) return undefined;
    const { tree, watches, recorder } = this.#state;
    if (transaction.conflictsWith(tree)) return "EAGAIN";
    const { domid, caller } = this.#domain;
    if (!caller.privileged && transaction.exceeds(tree, this.#domain.quotas.nodes, domid)) return "ENOSPC";
    const record = recorder.records ? (change: Change) => recorder.record(change) : undefined;
    for (const event of transaction.commit(tree, record)) watches.fire(event);
    return undefined;
  }

  #addWatch(request: { path: string; token: string; depth: number | undefined }): Watch | XenstoreErrno {
    const path = this.#watchPath(request.path);
    if (path === undefined) return "EINVAL";
    if (this.#findWatch(path, request.token) !== undefined) return "EEXIST";
    const domain = this.#domain;
    const limit = domain.quotas.watches;
    if (!domain.caller.privileged && isOver(limit, domain.watches + 1)) return "E2BIG";
    const tail = `\0${request.token}\0`;
    const watch: Watch = {
      path,
      sentPath: request.path,
      token: request.token,
      depth: request.depth,
      caller: domain.caller,
      sequence: this.#state.nextWatchSequence(),
      fire: (changed) => {
        const body = latin1Encode(changed + tail);
        // An event that no message can carry is left out, as Xen's xenstored does: its path is far below the watch.
        if (body.length > XENSTORE_PAYLOAD_MAX) return;
        this.#outbox.send({ type: XS.WATCH_EVENT, requestId: 0, transactionId: 0, body });
      },
    };
    this.#watches.push(watch);
    this.#state.watches.add(watch);
    domain.watches++;
    return watch;
  }

  #removeWatch(sentPath: string, token: string): Outcome {
    const path = this.#watchPath(sentPath);
    if (path === undefined) return "EINVAL";
    const watch = this.#findWatch(path, token);
    if (watch === undefined) return "ENOENT";
    this.#state.watches.remove(watch);
    this.#watches.splice(this.#watches.indexOf(watch), 1);
    this.#domain.watches--;
    return undefined;
  }

  #findWatch(path: string, token: string): Watch | undefined {
    return this.#watches.find((watch) => watch.path === path && watch.token === token);
  }

  /** A special name may have any syntax and stays as it is. */
  #watchPath(path: string): string | undefined {
    return isSpecial(path) ? path : resolvePath(this.#domain.caller, path);
  }
}

type NodeRequest = Extract<
  XenstoreRequest,
  { kind: "read" | "write" | "mkdir" | "rm" | "directory" | "directory-part" | "get-perms" | "set-perms" }
>;

function encodePermissions(permissions: Permissions): Uint8Array {
  return latin1Encode(permissions.map((entry) => `${formatPermission(entry)}\0`).join(""));
}
