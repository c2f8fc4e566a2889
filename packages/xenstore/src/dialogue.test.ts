import { XS } from "@paravirt/xen-abi";
import { describe, expect, test } from "vitest";
import { createXenstore, parsePermissions, type XenstoreMessage } from "./index.ts";
import { XS_LATER } from "./request.ts";
import { latin1Decode, latin1Encode } from "./text.ts";

/*
 * [domain, request, answer...]: what a domain sends and everything that it is sent until the reply has gone out.
 * `|` stands for NUL. A request may begin with its transaction, `#1 `. Events of other domains follow as `dN: ...`.
 */
type Turn = readonly [domain: number, request: string, ...answers: string[]];

const TYPES: Record<string, number> = { ...XS, ...XS_LATER };

function nameOf(type: number): string {
  return Object.entries(TYPES).find(([, value]) => value === type)?.[0] ?? String(type);
}

function play(turns: readonly Turn[], quotas = {}): void {
  const store = createXenstore({ quotas });
  store.local.write("/local/domain/1/data", "");
  store.local.setPermissions("/local/domain/1", parsePermissions("n1,r2")!);
  store.local.setPermissions("/local/domain/1/data", parsePermissions("n1")!);
  store.local.write("/shared", "all");
  store.local.setPermissions("/shared", parsePermissions("r0,b2")!);
  store.local.write("/secret/deep", "x");
  store.introduce(2, { page: new Uint8Array(4096), notify() {} });
  store.introduce(3, { page: new Uint8Array(4096), notify() {} });
  let heard: string[] = [];
  let speaker = 0;
  const listen = (domid: number) => (message: XenstoreMessage) => {
    const text = `${nameOf(message.type)} ${latin1Decode(message.body).replaceAll("\0", "|")}`;
    heard.push(domid === speaker ? text : `d${domid}: ${text}`);
  };
  const connections = new Map([0, 1, 2, 3].map((domid) => [domid, store.connect(domid, listen(domid))]));
  for (const [domain, request, ...answers] of turns) {
    heard = [];
    speaker = domain;
    const [, transaction, name, body] = /^(?:#(\d+) )?(\w+) ?([\s\S]*)$/.exec(request)!;
    connections.get(domain)!.handle({
      type: TYPES[name!] ?? Number(name),
      requestId: 7,
      transactionId: Number(transaction ?? 0),
      body: latin1Encode(body!.replaceAll("|", "\0")),
    });
    expect([domain, request, ...heard]).toEqual([domain, request, ...answers]);
  }
}

describe("nodes", () => {
  test("WRITE makes missing ancestors, READ answers the bytes, relative paths mean the domain's own home", () => {
    play([
      [1, "WRITE a/b/c|x y", "WRITE OK|"],
      [1, "READ a/b/c|", "READ x y"],
      [1, "READ /local/domain/1/a/b|", "READ "],
      [1, "DIRECTORY a|", "DIRECTORY b|"],
      [1, "DIRECTORY a/b/c|", "DIRECTORY "],
      [0, "READ /local/domain/1/a/b/c|", "READ x y"],
      [1, "WRITE a/b/c|with|nul", "WRITE OK|"],
      [1, "READ a/b/c|", "READ with|nul"],
    ]);
  });

  test("MKDIR leaves a value alone, RM takes everything below, and is content when only the node is missing", () => {
    play([
      [1, "MKDIR a/b|", "MKDIR OK|"],
      [1, "WRITE a|v", "WRITE OK|"],
      [1, "MKDIR a|", "MKDIR OK|"],
      [1, "READ a|", "READ v"],
      [1, "RM a|", "RM OK|"],
      [1, "READ a/b|", "ERROR ENOENT|"],
      [1, "RM a|", "RM OK|"],
      [1, "RM a/b|", "ERROR ENOENT|"],
      [0, "RM /|", "ERROR EINVAL|"],
    ]);
  });

  test.each([
    ["empty", ""],
    ["doubled slash", "a//b"],
    ["trailing slash", "a/"],
    ["absolute with trailing slash", "/a/"],
    ["two slashes", "//"],
    ["blank", "a b"],
    ["dot", "a.b"],
    ["not ASCII", "\u00e9"],
    ["absolute of 3073 bytes", "/".padEnd(3073, "a")],
    ["relative of 2049 bytes", "".padEnd(2049, "a")],
    ["unknown special name", "@x"],
  ])("a path that is %s is refused", (_what, path) => {
    play([
      [0, `READ ${path}|`, "ERROR EINVAL|"],
      [0, `WRITE ${path}|v`, "ERROR EINVAL|"],
    ]);
  });

  test("paths as long as allowed are fine", () => {
    play([
      [0, `MKDIR ${"/".padEnd(3072, "a")}|`, "MKDIR OK|"],
      [0, `MKDIR ${"".padEnd(2048, "a")}|`, "MKDIR OK|"],
    ]);
  });

  test("bodies that aren't what the type wants are refused", () => {
    play([
      [0, "READ /a", "ERROR EINVAL|"],
      [0, "READ ", "ERROR EINVAL|"],
      [0, "READ /a|b|", "ERROR EINVAL|"],
      [0, "WRITE /a", "ERROR EINVAL|"],
      [0, "SET_PERMS /shared|", "ERROR EINVAL|"],
      [0, "SET_PERMS /shared|x1|", "ERROR EINVAL|"],
      [0, "SET_PERMS /shared|n0|reserved", "SET_PERMS OK|"],
      [0, "SET_PERMS /shared|r70000|", "ERROR EINVAL|"],
      [0, "WATCH /shared|", "ERROR EINVAL|"],
      [0, "WATCH /shared|t|x|", "ERROR EINVAL|"],
      [0, "DIRECTORY_PART /shared|", "ERROR EINVAL|"],
      [0, "TRANSACTION_END x|", "ERROR EINVAL|"],
      [0, "INTRODUCE 1|", "ERROR EINVAL|"],
      [0, "20 x|", "ERROR ENOSYS|"],
      [0, "4000000000 x|", "ERROR ENOSYS|"],
      [0, "WATCH_EVENT /a|b|", "ERROR ENOSYS|"],
      [0, "ERROR ENOENT|", "ERROR ENOSYS|"],
    ]);
  });

  test("DIRECTORY_PART counts bytes of names and ends with an empty name", () => {
    play([
      [1, "WRITE d/one|", "WRITE OK|"],
      [1, "WRITE d/two|", "WRITE OK|"],
    ]);
    const store = createXenstore();
    store.local.write("/d/one", "");
    store.local.write("/d/two", "");
    const answers: string[] = [];
    const connection = store.connect(0, (message) => answers.push(latin1Decode(message.body)));
    for (const offset of [0, 4, 8, 99]) {
      connection.handle({
        type: XS.DIRECTORY_PART,
        requestId: 1,
        transactionId: 0,
        body: latin1Encode(`/d\0${offset}\0`),
      });
    }
    const stamp = answers[0]!.split("\0")[0]!;
    expect(answers).toEqual([`${stamp}\0one\0two\0\0`, `${stamp}\0two\0\0`, `${stamp}\0\0`, `${stamp}\0\0`]);
  });
});

describe("permissions", () => {
  test("who isn't listed has the owner entry's rights; who may not read isn't told whether a node exists", () => {
    play([
      [2, "READ /shared|", "READ all"],
      [3, "READ /shared|", "READ all"],
      [2, "WRITE /shared|by 2", "WRITE OK|"],
      [3, "WRITE /shared|by 3", "ERROR EACCES|"],
      [2, "READ /local/domain/1/data|", "ERROR EACCES|"],
      [2, "READ /local/domain/1/none|", "ERROR ENOENT|"],
      [3, "READ /local/domain/1/none|", "ERROR EACCES|"],
      [3, "READ /secret/deep|", "ERROR EACCES|"],
      [3, "READ /secret/none|", "ERROR EACCES|"],
      [3, "DIRECTORY /|", "ERROR EACCES|"],
    ]);
  });

  test("a new node has its parent's permissions and belongs to the domain that made it", () => {
    play([
      [2, "WRITE /shared/of2|x", "WRITE OK|"],
      [2, "GET_PERMS /shared/of2|", "GET_PERMS r2|b2|"],
      [0, "WRITE /shared/of0|x", "WRITE OK|"],
      [0, "GET_PERMS /shared/of0|", "GET_PERMS r0|b2|"],
      [1, "WRITE data/x|y", "WRITE OK|"],
      [1, "GET_PERMS data/x|", "GET_PERMS n1|"],
    ]);
  });

  test("the owner changes permissions but can't give the node away; domain 0 can", () => {
    play([
      [1, "SET_PERMS data|n1|r2|", "SET_PERMS OK|"],
      [2, "READ /local/domain/1/data|", "READ "],
      [2, "SET_PERMS /shared|b2|", "ERROR EACCES|"],
      [1, "SET_PERMS data|n2|", "ERROR EPERM|"],
      [0, "SET_PERMS /local/domain/1/data|n2|", "SET_PERMS OK|"],
      [1, "READ data|", "ERROR EACCES|"],
    ]);
  });

  test("SET_TARGET gives a domain the rights of the one that it serves", () => {
    play([
      [3, "WRITE /shared|x", "ERROR EACCES|"],
      [3, "SET_TARGET 3|2|", "ERROR EACCES|"],
      [0, "SET_TARGET 3|9|", "ERROR ENOENT|"],
      [0, "SET_TARGET 3|2|", "SET_TARGET OK|"],
      [3, "WRITE /shared|x", "WRITE OK|"],
    ]);
  });
});

describe("watches", () => {
  test("a watch is acknowledged, then fired once; later the event comes before the writer's own reply", () => {
    play([
      [1, "WATCH data|tok|", "WATCH OK|", "WATCH_EVENT data|tok|"],
      [1, "WRITE data/x|1", "WATCH_EVENT data/x|tok|", "WRITE OK|"],
      [1, "WATCH /local/domain/1/data|abs|", "WATCH OK|", "WATCH_EVENT /local/domain/1/data|abs|"],
      [1, "RM data/x|", "WATCH_EVENT data/x|tok|", "WATCH_EVENT /local/domain/1/data/x|abs|", "RM OK|"],
      [1, "WATCH data|tok|", "ERROR EEXIST|"],
      [1, "UNWATCH data|tok|", "UNWATCH OK|"],
      [1, "UNWATCH data|tok|", "ERROR ENOENT|"],
      [1, "SET_PERMS data|n1|r2|", "WATCH_EVENT /local/domain/1/data|abs|", "SET_PERMS OK|"],
      [1, "RESET_WATCHES |", "RESET_WATCHES OK|"],
      [1, "WRITE data|2", "WRITE OK|"],
      [1, "WATCH none|n|", "WATCH OK|", "WATCH_EVENT none|n|"],
    ]);
  });

  test("a depth limits how far below the watch a change counts", () => {
    play([
      [1, "WATCH data|zero|0|", "WATCH OK|", "WATCH_EVENT data|zero|"],
      [1, "WATCH data|one|1|", "WATCH OK|", "WATCH_EVENT data|one|"],
      [1, "WRITE data|x", "WATCH_EVENT data|zero|", "WATCH_EVENT data|one|", "WRITE OK|"],
      [1, "WRITE data/a|x", "WATCH_EVENT data/a|one|", "WRITE OK|"],
      [1, "WRITE data/a/b|x", "WRITE OK|"],
    ]);
  });

  test("a watch below a removed node hears of its own path, one on a sibling nothing", () => {
    play([
      [1, "WRITE data/a/b|x", "WRITE OK|"],
      [1, "WATCH data/a/b|deep|", "WATCH OK|", "WATCH_EVENT data/a/b|deep|"],
      [1, "WATCH data/c|other|", "WATCH OK|", "WATCH_EVENT data/c|other|"],
      [1, "RM data|", "WATCH_EVENT data/a/b|deep|", "RM OK|"],
    ]);
  });

  test("a domain hears only of what it may read, and of what it could read before", () => {
    play([
      [2, "WATCH /local/domain/1|t|", "WATCH OK|", "WATCH_EVENT /local/domain/1|t|"],
      [3, "WATCH /local/domain/1|t|", "WATCH OK|", "WATCH_EVENT /local/domain/1|t|"],
      [1, "WRITE data/x|1", "WRITE OK|"],
      [1, "WRITE open|1", "d2: WATCH_EVENT /local/domain/1/open|t|", "WRITE OK|"],
      [1, "SET_PERMS open|n1|", "d2: WATCH_EVENT /local/domain/1/open|t|", "SET_PERMS OK|"],
    ]);
  });

  test("special watches tell of domains that come and go, to those who may know", () => {
    play([
      [0, "WATCH @releaseDomain|r|", "WATCH OK|", "WATCH_EVENT @releaseDomain|r|"],
      [0, "WATCH @releaseDomain|which|1|", "WATCH OK|", "WATCH_EVENT @releaseDomain|which|"],
      [0, "WATCH @releaseDomain/3|three|", "WATCH OK|", "WATCH_EVENT @releaseDomain/3|three|"],
      [1, "WATCH @releaseDomain|no|", "WATCH OK|", "WATCH_EVENT @releaseDomain|no|"],
      [0, "RELEASE 2|", "WATCH_EVENT @releaseDomain|r|", "WATCH_EVENT @releaseDomain/2|which|", "RELEASE OK|"],
      [1, "SET_PERMS @releaseDomain|n0|r1|", "ERROR EACCES|"],
      [0, "SET_PERMS @releaseDomain|n0|r1|", "SET_PERMS OK|"],
      [0, "GET_PERMS @releaseDomain|", "GET_PERMS n0|r1|"],
      [
        0,
        "RELEASE 3|",
        "WATCH_EVENT @releaseDomain|r|",
        "WATCH_EVENT @releaseDomain/3|which|",
        "WATCH_EVENT @releaseDomain/3|three|",
        "d1: WATCH_EVENT @releaseDomain|no|",
        "RELEASE OK|",
      ],
    ]);
  });
});

describe("transactions", () => {
  test("nobody sees a transaction's changes before its end, and events come then, each path once", () => {
    play([
      [1, "WATCH data|t|", "WATCH OK|", "WATCH_EVENT data|t|"],
      [1, "TRANSACTION_START |", "TRANSACTION_START 1|"],
      [1, "#1 WRITE data/b/c|1", "WRITE OK|"],
      [1, "#1 WRITE data/a|1", "WRITE OK|"],
      [1, "#1 WRITE data/b/c|2", "WRITE OK|"],
      [1, "#1 READ data/b/c|", "READ 2"],
      [1, "READ data/b/c|", "ERROR ENOENT|"],
      [1, "#1 TRANSACTION_END T|", "WATCH_EVENT data/b/c|t|", "WATCH_EVENT data/a|t|", "TRANSACTION_END OK|"],
      [1, "READ data/b/c|", "READ 2"],
      [1, "#1 READ data|", "ERROR ENOENT|"],
      [1, "#1 TRANSACTION_END T|", "ERROR ENOENT|"],
    ]);
  });

  test("a dropped transaction leaves nothing, not even events", () => {
    play([
      [1, "WATCH data|t|", "WATCH OK|", "WATCH_EVENT data|t|"],
      [1, "TRANSACTION_START |", "TRANSACTION_START 1|"],
      [1, "#1 WRITE data/x|1", "WRITE OK|"],
      [1, "#1 TRANSACTION_END F|", "TRANSACTION_END OK|"],
      [1, "READ data/x|", "ERROR ENOENT|"],
    ]);
  });

  test.each([
    ["a value that was read", "READ data|", "WRITE data|new"],
    ["a value that was written", "WRITE data|mine", "WRITE data|new"],
    ["a list that was read", "DIRECTORY data|", "WRITE data/child|"],
    ["a node that was missing", "READ data/none|", "WRITE data/none|now"],
    ["permissions that were read", "GET_PERMS data|", "SET_PERMS data|n1|r2|"],
    ["a node that went away", "READ data|", "RM data|"],
  ])("another's change of %s makes it fail with EAGAIN", (_what, mine, other) => {
    const reply = mine.startsWith("READ data/none") ? "ERROR ENOENT|" : expect.any(String);
    play([
      [1, "TRANSACTION_START |", "TRANSACTION_START 1|"],
      [1, `#1 ${mine}`, reply],
      [1, "#1 WRITE result|1", "WRITE OK|"],
      [1, other, expect.stringMatching("OK")],
      [1, "#1 TRANSACTION_END T|", "ERROR EAGAIN|"],
      [1, "READ result|", "ERROR ENOENT|"],
    ]);
  });

  test("changes elsewhere don't disturb a transaction, siblings included", () => {
    play([
      [1, "TRANSACTION_START |", "TRANSACTION_START 1|"],
      [1, "#1 WRITE data/mine|1", "WRITE OK|"],
      [1, "WRITE data/other|2", "WRITE OK|"],
      [1, "#1 TRANSACTION_END T|", "TRANSACTION_END OK|"],
      [1, "DIRECTORY data|", "DIRECTORY other|mine|"],
    ]);
  });

  test("a node removed and made again in a transaction loses its children", () => {
    play([
      [1, "WRITE data/a/old|1", "WRITE OK|"],
      [1, "TRANSACTION_START |", "TRANSACTION_START 1|"],
      [1, "#1 RM data/a|", "RM OK|"],
      [1, "#1 WRITE data/a/new|2", "WRITE OK|"],
      [1, "#1 TRANSACTION_END T|", "TRANSACTION_END OK|"],
      [1, "DIRECTORY data/a|", "DIRECTORY new|"],
    ]);
  });

  test("a node removed and made again in a transaction is listed last, and new ones in the order they were made", () => {
    play([
      [1, "WRITE data/a|1", "WRITE OK|"],
      [1, "WRITE data/b|1", "WRITE OK|"],
      [1, "TRANSACTION_START |", "TRANSACTION_START 1|"],
      [1, "#1 READ data/d|", "ERROR ENOENT|"],
      [1, "#1 WRITE data/c|1", "WRITE OK|"],
      [1, "#1 RM data/a|", "RM OK|"],
      [1, "#1 WRITE data/a|1", "WRITE OK|"],
      [1, "#1 WRITE data/d|1", "WRITE OK|"],
      [1, "#1 TRANSACTION_END T|", "TRANSACTION_END OK|"],
      [1, "DIRECTORY data|", "DIRECTORY b|c|a|d|"],
    ]);
  });

  test("events of a transaction come in the order in which it came to the nodes, a removed one's parent second", () => {
    play([
      [1, "WRITE data/b|1", "WRITE OK|"],
      [1, "WATCH data|t|", "WATCH OK|", "WATCH_EVENT data|t|"],
      [1, "TRANSACTION_START |", "TRANSACTION_START 1|"],
      [1, "#1 RM data/b|", "RM OK|"],
      [1, "#1 WRITE data/a|1", "WRITE OK|"],
      [1, "#1 WRITE data|new", "WRITE OK|"],
      [
        1,
        "#1 TRANSACTION_END T|",
        "WATCH_EVENT data/b|t|",
        "WATCH_EVENT data|t|",
        "WATCH_EVENT data/a|t|",
        "TRANSACTION_END OK|",
      ],
    ]);
  });

  test("a node made in a transaction together with its parent is told to its own readers alone", () => {
    play([
      [2, "WATCH /shared|t|", "WATCH OK|", "WATCH_EVENT /shared|t|"],
      [0, "TRANSACTION_START |", "TRANSACTION_START 1|"],
      [0, "#1 MKDIR /shared/new/secret|", "MKDIR OK|"],
      [0, "#1 SET_PERMS /shared/new/secret|n0|", "SET_PERMS OK|"],
      [0, "#1 TRANSACTION_END T|", "TRANSACTION_END OK|"],
    ]);
  });

  test("transactions don't nest, and one domain can't use another's", () => {
    play([
      [1, "TRANSACTION_START |", "TRANSACTION_START 1|"],
      [1, "#1 TRANSACTION_START |", "ERROR EBUSY|"],
      [1, "#9 TRANSACTION_START |", "ERROR ENOENT|"],
      [2, "#1 READ /shared|", "ERROR ENOENT|"],
      [1, "RESET_WATCHES |", "RESET_WATCHES OK|"],
      [1, "#1 TRANSACTION_END F|", "ERROR ENOENT|"],
    ]);
  });
});

describe("quotas", () => {
  test("nodes, node size, permissions, watches and transactions are limited, for domain 0 nothing is", () => {
    const quotas = { nodes: 4, "node-size": 100, permissions: 2, watches: 1, transactions: 1, "transaction-nodes": 3 };
    play(
      [
        [1, "WRITE a|", "WRITE OK|"],
        [1, "WRITE b/c|", "ERROR ENOSPC|"],
        [1, "WRITE b|", "WRITE OK|"],
        [1, "WRITE c|", "ERROR ENOSPC|"],
        [0, "WRITE /many/a/b/c/d/e|", "WRITE OK|"],
        [1, `WRITE a|${"x".repeat(64)}`, "WRITE OK|"],
        [1, `WRITE a|${"x".repeat(65)}`, "ERROR ENOSPC|"],
        [0, `WRITE /many|${"x".repeat(4000)}`, "WRITE OK|"],
        [1, "SET_PERMS data|n1|r2|r3|", "ERROR ENOSPC|"],
        [1, "WATCH a|1|", "WATCH OK|", "WATCH_EVENT a|1|"],
        [1, "WATCH a|2|", "ERROR E2BIG|"],
        [1, "TRANSACTION_START |", "TRANSACTION_START 1|"],
        [1, "TRANSACTION_START |", "ERROR ENOSPC|"],
        [1, "#1 READ a|", expect.stringContaining("READ")],
        [1, "#1 READ b|", "READ "],
        [1, "#1 READ data|", "READ "],
        [1, "#1 READ a|", "ERROR ENOSPC|"],
        [1, "#1 TRANSACTION_END T|", "TRANSACTION_END OK|"],
      ],
      quotas,
    );
  });

  test("a transaction can't bring a domain over its limit of nodes either", () => {
    play(
      [
        [1, "TRANSACTION_START |", "TRANSACTION_START 1|"],
        [1, "#1 WRITE a|", "WRITE OK|"],
        [1, "WRITE b|", "WRITE OK|"],
        [1, "#1 TRANSACTION_END T|", "ERROR ENOSPC|"],
      ],
      { nodes: 3 },
    );
  });

  test("GET_QUOTA and SET_QUOTA show and change them, for all or one domain", () => {
    play([
      [1, "GET_QUOTA nodes|", "ERROR EACCES|"],
      [0, "GET_QUOTA nodes|", "GET_QUOTA 1000|"],
      [0, "SET_QUOTA 1|nodes|2|", "SET_QUOTA OK|"],
      [0, "GET_QUOTA 1|nodes|", "GET_QUOTA 2|"],
      [0, "GET_QUOTA nodes|", "GET_QUOTA 1000|"],
      [1, "WRITE a|", "ERROR ENOSPC|"],
      [0, "SET_QUOTA nodes|5|", "SET_QUOTA OK|"],
      [0, "GET_QUOTA 2|nodes|", "GET_QUOTA 5|"],
      [0, "SET_QUOTA nonsense|5|", "ERROR EINVAL|"],
      [0, "CONTROL quota|1|", "CONTROL nodes: 2\nwatches: 0\ntransactions: 0\n|"],
    ]);
  });
});

describe("domains", () => {
  test("domain 0 alone manages domains; anyone may ask for a path", () => {
    play([
      [1, "GET_DOMAIN_PATH 5|", "GET_DOMAIN_PATH /local/domain/5|"],
      [0, "IS_DOMAIN_INTRODUCED 2|", "IS_DOMAIN_INTRODUCED T|"],
      [0, "IS_DOMAIN_INTRODUCED 9|", "IS_DOMAIN_INTRODUCED F|"],
      [1, "IS_DOMAIN_INTRODUCED 2|", "ERROR EACCES|"],
      [1, "INTRODUCE 9|1|1|", "ERROR EACCES|"],
      [1, "RELEASE 2|", "ERROR EACCES|"],
      [1, "RESUME 2|", "ERROR EACCES|"],
      [1, "CONTROL help|", "ERROR EACCES|"],
      [0, "CONTROL help|", "CONTROL help check quota|"],
      [0, "INTRODUCE 9|1|1|", "ERROR ENOSYS|"],
      [0, "INTRODUCE 0|1|1|", "ERROR EINVAL|"],
      [0, "RESUME 2|", "RESUME OK|"],
      [0, "RELEASE 9|", "ERROR ENOENT|"],
      [0, "GET_FEATURE |", "GET_FEATURE 7|"],
      [0, "SET_FEATURE 2|1|", "ERROR EBUSY|"],
      [0, "SET_FEATURE 9|8|", "ERROR EINVAL|"],
      [0, "SET_FEATURE 9|2|", "SET_FEATURE OK|"],
      [0, "GET_FEATURE 9|", "GET_FEATURE 2|"],
    ]);
  });

  test("a released domain's nodes go with everything below them", () => {
    play([
      [2, "WRITE /shared/of2/deep|x", "WRITE OK|"],
      [0, "WRITE /shared/of2/by0|x", "WRITE OK|"],
      [0, "RELEASE 2|", "RELEASE OK|"],
      [0, "DIRECTORY /shared|", "DIRECTORY "],
      [0, "IS_DOMAIN_INTRODUCED 2|", "IS_DOMAIN_INTRODUCED F|"],
    ]);
  });
});
