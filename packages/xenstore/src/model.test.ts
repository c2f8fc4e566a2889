import { XS } from "@paravirt/xen-abi";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createXenstore } from "./index.ts";
import { latin1Decode, latin1Encode } from "./text.ts";

/*
 * The store against a plain map from path to value. A transaction of the model copies the whole map; it may be committed
 * only if everything that it looked at is as it was, which the model finds out by running it again.
 */
type Model = Map<string, string>;
type Operation = {
  readonly what: "read" | "write" | "mkdir" | "rm" | "directory";
  readonly path: string;
  readonly value: string;
};
type Step =
  | { readonly kind: "plain"; readonly operation: Operation }
  | { readonly kind: "start" | "commit" | "abort"; readonly slot: number }
  | { readonly kind: "inside"; readonly slot: number; readonly operation: Operation };

const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/")) || "/";

function runOnModel(model: Model, { what, path, value }: Operation): string {
  const make = (node: string): void => {
    if (model.has(node)) return;
    make(parentOf(node));
    model.set(node, "");
  };
  switch (what) {
    case "read":
      return model.get(path) ?? "ENOENT|";
    case "write":
      make(path);
      model.set(path, value);
      return "OK|";
    case "mkdir":
      make(path);
      return "OK|";
    case "rm":
      if (!model.has(path)) return model.has(parentOf(path)) ? "OK|" : "ENOENT|";
      for (const node of [...model.keys()]) if (node === path || node.startsWith(`${path}/`)) model.delete(node);
      return "OK|";
    case "directory": {
      if (!model.has(path)) return "ENOENT|";
      const names = [...model.keys()].filter((node) => node !== path && parentOf(node) === path);
      return names
        .map((node) => `${node.slice(node.lastIndexOf("/") + 1)}|`)
        .sort()
        .join("");
    }
  }
}

const path = fc
  .array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 4 })
  .map((parts) => `/${parts.join("/")}`);
const operation: fc.Arbitrary<Operation> = fc.record({
  what: fc.constantFrom("read", "write", "mkdir", "rm", "directory"),
  path,
  value: fc.constantFrom("", "1", "2"),
});
const slot = fc.nat(2);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("plain" as const), operation }),
  fc.record({ kind: fc.constant("inside" as const), slot, operation }),
  fc.record({ kind: fc.constant("inside" as const), slot, operation }),
  fc.record({ kind: fc.constantFrom("start" as const, "commit" as const, "abort" as const), slot }),
);

interface OpenTransaction {
  readonly id: number;
  readonly copy: Model;
  readonly log: { readonly operation: Operation; readonly answer: string }[];
}

test("every answer is the map's, and a transaction that is committed is as if it had run alone at its end", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: "max" }), (steps) => {
      const store = createXenstore();
      store.local.remove("/tool");
      let answer = "";
      const connection = store.connect(0, (message) => {
        answer = latin1Decode(message.body).replaceAll("\0", "|");
      });
      const ask = (type: number, body: string, transactionId = 0): string => {
        connection.handle({ type, requestId: 1, transactionId, body: latin1Encode(body.replaceAll("|", "\0")) });
        return answer;
      };
      const run = ({ what, path, value }: Operation, transactionId: number): string => {
        if (what === "write") return ask(XS.WRITE, `${path}|${value}`, transactionId);
        const reply = ask(
          { read: XS.READ, mkdir: XS.MKDIR, rm: XS.RM, directory: XS.DIRECTORY }[what],
          `${path}|`,
          transactionId,
        );
        if (what !== "directory" || reply === "ENOENT|") return reply;
        return reply
          .split("|")
          .filter((name) => name !== "")
          .sort()
          .map((name) => `${name}|`)
          .join("");
      };
      let model: Model = new Map([["/", ""]]);
      const open = new Map<number, OpenTransaction>();
      for (const one of steps) {
        if (one.kind === "plain") expect(run(one.operation, 0)).toBe(runOnModel(model, one.operation));
        else if (one.kind === "start" && !open.has(one.slot)) {
          open.set(one.slot, {
            id: Number(ask(XS.TRANSACTION_START, "|").slice(0, -1)),
            copy: new Map(model),
            log: [],
          });
        } else if (one.kind === "inside") {
          const transaction = open.get(one.slot);
          if (transaction === undefined) continue;
          const expected = runOnModel(transaction.copy, one.operation);
          expect(run(one.operation, transaction.id)).toBe(expected);
          transaction.log.push({ operation: one.operation, answer: expected });
        } else if (one.kind === "commit" || one.kind === "abort") {
          const transaction = open.get(one.slot);
          if (transaction === undefined) continue;
          open.delete(one.slot);
          const reply = ask(XS.TRANSACTION_END, one.kind === "commit" ? "T|" : "F|", transaction.id);
          if (one.kind === "abort") expect(reply).toBe("OK|");
          else if (reply === "OK|") {
            const after = new Map(model);
            const again = transaction.log.map(({ operation }) => runOnModel(after, operation));
            expect(again).toEqual(transaction.log.map(({ answer }) => answer));
            model = after;
          } else expect(reply).toBe("EAGAIN|");
        }
      }
      for (const [path, value] of model) expect(ask(XS.READ, `${path}|`)).toBe(value);
      expect(countNodes()).toBe(model.size);

      function countNodes(path = "/"): number {
        const names = store.local.list(path) ?? [];
        return names.reduce((sum, name) => sum + countNodes(path === "/" ? `/${name}` : `${path}/${name}`), 1);
      }
    }),
    { numRuns: 400 },
  );
});

test("a transaction that nobody disturbs is always committed", () => {
  fc.assert(
    fc.property(
      fc.array(operation, { maxLength: 30, size: "max" }),
      fc.array(operation, { maxLength: 30, size: "max" }),
      (before, inside) => {
        const store = createXenstore();
        const replies: string[] = [];
        const connection = store.connect(0, (message) => replies.push(latin1Decode(message.body)));
        const send = (type: number, body: string, transactionId: number): void =>
          connection.handle({ type, requestId: 1, transactionId, body: latin1Encode(body) });
        const types = { read: XS.READ, write: XS.WRITE, mkdir: XS.MKDIR, rm: XS.RM, directory: XS.DIRECTORY };
        const run = (list: Operation[], transactionId: number): void => {
          for (const { what, path, value } of list)
            send(types[what], `${path}\0${what === "write" ? value : ""}`, transactionId);
        };
        run(before, 0);
        send(XS.TRANSACTION_START, "\0", 0);
        run(inside, 1);
        send(XS.TRANSACTION_END, "T\0", 1);
        expect(replies.at(-1)).toBe("OK\0");
      },
    ),
  );
});
