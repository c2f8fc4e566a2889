import { beforeEach, describe, expect, test } from "vitest";
import { PAGE, Stage, WAYS } from "../agreement/stage.ts";
import { EXIT } from "./index.ts";

const CODE = 0xc00000n;
const DATA = 0xa00000n;
const SECOND = 0xa01000n;
const STACK = 0xb00000n;
const RAX = 0;
const PAGE_FAULT = 14;
const WRITE = 2;
const FETCH = 16;
/** Error code bits: the page was present, and user mode accessed it. */
const MISSING = 4;
const DENIED = 5;
/** Reads into RAX without end, and counts in RCX. */
const READER = "again:\nmov rax, [rbx]\ninc rcx\njmp again";
const WRITER = "again:\nmov [rbx], rcx\ninc rcx\njmp again";

describe.each(WAYS)("%s", (way) => {
  const stage = new Stage(way);
  const { tlb, frames } = stage.engine;
  beforeEach(() => stage.reset());

  /** Runs `source` with RBX at the data page for a while, so that it is hot. */
  function hot(source: string) {
    const root = stage.frame();
    const code = stage.code(source, CODE);
    const data = stage.filled(1n);
    stage.map(root, CODE, code);
    stage.map(root, DATA, data);
    stage.map(root, STACK, stage.frame());
    const vcpu = stage.vcpu(root, CODE);
    vcpu.regs[3] = DATA;
    vcpu.regs[4] = STACK + 4096n;
    expect(stage.run(vcpu, 2000).reason).toBe(EXIT.BUDGET);
    const goesOn = () => {
      expect(stage.run(vcpu, 300).reason).toBe(EXIT.BUDGET);
      return vcpu.regs[RAX];
    };
    const faults = (vector: number, errorCode: number, address: bigint) => {
      const exit = stage.run(vcpu, 300);
      expect([exit.reason, exit.vector, exit.errorCode, exit.address]).toEqual([
        EXIT.FAULT,
        vector,
        errorCode,
        address,
      ]);
      // Restartable: the same again.
      const { rip } = vcpu;
      expect(stage.run(vcpu, 1).address).toBe(address);
      expect(vcpu.rip).toBe(rip);
    };
    return { root, code, data, vcpu, goesOn, faults };
  }

  const FLUSHES = {
    flushPage: (_root: number) => tlb.flushPage(DATA),
    flushAddressSpace: (root: number) => tlb.flushAddressSpace(root),
    flushAll: () => tlb.flushAll(),
  };

  describe.each(Object.entries(FLUSHES))("%s", (_name, flush) => {
    test("a page that is remapped under a hot loop", () => {
      const { root, goesOn } = hot(READER);
      for (let value = 2n; value < 12n; value++) {
        stage.map(root, DATA, stage.filled(value));
        flush(root);
        expect(goesOn()).toBe(value);
      }
    });

    test("a page that goes away, comes back, and loses and gains rights", () => {
      const { root, data, goesOn, faults } = hot(WRITER);
      for (let round = 0; round < 3; round++) {
        stage.map(root, DATA, data, PAGE.absent);
        flush(root);
        faults(PAGE_FAULT, MISSING | WRITE, DATA);
        stage.map(root, DATA, data, PAGE.readOnly);
        faults(PAGE_FAULT, DENIED | WRITE, DATA);
        // More rights need no flush.
        stage.map(root, DATA, data);
        goesOn();
        stage.map(root, DATA, data, PAGE.readOnly);
        flush(root);
        faults(PAGE_FAULT, DENIED | WRITE, DATA);
        stage.map(root, DATA, data);
        goesOn();
      }
    });

    test("a table further up", () => {
      const { root, goesOn, faults, data } = hot(READER);
      const { quads } = stage.engine.memory;
      const table = stage.entry(root, DATA, 2);
      const before = quads[table]!;
      quads[table] = 0n;
      flush(root);
      faults(PAGE_FAULT, MISSING, DATA);
      quads[table] = before;
      goesOn();
      // Another leaf table, with another frame behind the page.
      const leaf = stage.frame();
      quads[leaf * 512 + Number((DATA >> 12n) & 511n)] = BigInt(stage.filled(99n) * 4096) | PAGE.writable;
      quads[leaf * 512 + Number((STACK >> 12n) & 511n)] = BigInt(data * 4096) | PAGE.writable;
      quads[table] = BigInt(leaf * 4096) | PAGE.writable;
      flush(root);
      expect(goesOn()).toBe(99n);
    });
  });

  test("code is remapped under a hot loop", () => {
    const { root, goesOn, vcpu } = hot("again:\nmov eax, 1\nnop\njmp again");
    for (let value = 2; value < 12; value++) {
      stage.map(root, CODE, stage.code(`again:\nmov eax, ${value}\nnop\njmp again`, CODE));
      [() => tlb.flushPage(CODE), () => tlb.flushAddressSpace(root), () => tlb.flushAll()][value % 3]!();
      expect(goesOn()).toBe(BigInt(value));
    }
    expect(vcpu.rip & ~15n).toBe(CODE);
  });

  test("code loses the right to be executed under a hot loop, and gets it back", () => {
    const { root, code, goesOn, vcpu } = hot(READER);
    for (let round = 0; round < 3; round++) {
      stage.map(root, CODE, code, PAGE.noExecute);
      tlb.flushPage(CODE);
      const exit = stage.run(vcpu, 300);
      expect([exit.reason, exit.vector, exit.errorCode]).toEqual([EXIT.FAULT, PAGE_FAULT, DENIED | FETCH]);
      expect(exit.address).toBe(vcpu.rip);
      stage.map(root, CODE, code);
      goesOn();
    }
  });

  test("a frame that is forgotten, made read-only, or given away", () => {
    const { root, data, goesOn, faults } = hot(WRITER);
    stage.map(root, DATA, stage.frame());
    frames.forget(data);
    goesOn();
    stage.map(root, DATA, data);
    tlb.flushPage(DATA);
    goesOn();
    frames.setWritable(data, false);
    faults(PAGE_FAULT, DENIED | WRITE, DATA);
    frames.setWritable(data, true);
    goesOn();
    frames.setOwner(data, 2);
    faults(PAGE_FAULT, DENIED | WRITE, DATA);
    frames.setOwner(data, 1);
    goesOn();
  });

  test("a frame that everyone may read, until not any more", () => {
    const { data, goesOn, faults } = hot(READER);
    frames.setReadableByAll(data, true);
    frames.setOwner(data, 2);
    expect(goesOn()).toBe(1n);
    frames.setReadableByAll(data, false);
    faults(PAGE_FAULT, DENIED, DATA);
  });

  test("a frame that is mapped at many places disappears from all of them", () => {
    const source =
      "again:\nmov rax, [rbx]\nadd rax, [rbx+0x10000]\nadd rax, [rbx+0x20000]\nadd rax, [rbx+0x30000]\nadd rax, [rbx+0x40000]\njmp again";
    const root = stage.frame();
    const places = [0, 1, 2, 3, 4].map((index) => DATA + BigInt(index * 0x10000));
    const data = stage.filled(3n);
    for (const place of places) stage.map(root, place, data);
    stage.map(root, CODE, stage.code(source, CODE));
    const vcpu = stage.vcpu(root, CODE);
    vcpu.regs[3] = DATA;
    stage.run(vcpu, 2000);
    const other = stage.filled(4n);
    for (const place of places) stage.map(root, place, other);
    frames.forget(data);
    vcpu.rip = CODE;
    stage.run(vcpu, 6);
    expect(vcpu.regs[RAX]).toBe(20n);
  });

  test("pages that share a TLB slot", () => {
    // 1024 entries: 4 MiB apart they meet.
    const root = stage.frame();
    const source =
      "again:\nmov rax, [rbx]\nadd rax, [rbx+0x400000]\nadd rax, [rbx+0x800000]\nmov [rbx+8], rax\nmov [rbx+0x400008], rax\njmp again";
    stage.map(root, CODE - 0x800000n, stage.code(source, CODE - 0x800000n));
    for (let index = 0; index < 3; index++)
      stage.map(root, DATA + BigInt(index * 0x400000), stage.filled(10n ** BigInt(index)));
    const vcpu = stage.vcpu(root, CODE - 0x800000n);
    vcpu.regs[3] = DATA;
    expect(stage.run(vcpu, 3000).reason).toBe(EXIT.BUDGET);
    vcpu.rip = CODE - 0x800000n;
    stage.run(vcpu, 6);
    expect(vcpu.regs[RAX]).toBe(111n);
  });

  test("more address spaces than contexts, in turn, with pages changed while others run", () => {
    const code = stage.code(READER, CODE);
    const spaces = Array.from({ length: 40 }, (_, index) => {
      const root = stage.frame();
      stage.map(root, CODE, code);
      stage.map(root, DATA, stage.filled(BigInt(index)));
      return { root, value: BigInt(index) };
    });
    const vcpu = stage.vcpu(spaces[0]!.root, CODE);
    vcpu.regs[3] = DATA;
    for (let round = 0; round < 200; round++) {
      const space = spaces[(round * 7) % (round % 3 === 0 ? 40 : 9)]!;
      vcpu.setRoot(space.root);
      vcpu.rip = CODE;
      stage.run(vcpu, 60);
      expect(vcpu.regs[RAX]).toBe(space.value);
      const changed = spaces[(round * 5) % 40]!;
      changed.value += 100n;
      stage.map(changed.root, DATA, stage.filled(changed.value));
      if (round % 2 === 0) tlb.flushAddressSpace(changed.root);
      else tlb.flushPage(DATA);
    }
  });

  test("accessed and dirty bits are set again after they were cleared and flushed", () => {
    const { root, goesOn } = hot(WRITER);
    const { quads } = stage.engine.memory;
    const at = stage.entry(root, DATA);
    expect(quads[at]! & 0x60n).toBe(0x60n);
    quads[at] = quads[at]! & ~0x60n;
    tlb.flushPage(DATA);
    goesOn();
    expect(quads[at]! & 0x60n).toBe(0x60n);
  });

  describe("data over a page's border", () => {
    const ACCESSES = [
      ["mov [rbx], ax", 2, WRITE],
      ["mov [rbx], eax", 4, WRITE],
      ["mov [rbx], rax", 8, WRITE],
      ["add [rbx], rax", 8, WRITE],
      ["lock xadd [rbx], rax", 8, WRITE],
      ["movups [rbx], xmm0", 16, WRITE],
      ["fstp tbyte ptr [rbx]", 10, WRITE],
      ["lea rdi, [rbx]\nstosq", 8, WRITE],
      ["lea rsp, [rbx+8]\npush rax", 8, WRITE],
      ["mov ax, [rbx]", 2, 0],
      ["mov rax, [rbx]", 8, 0],
      ["movups xmm0, [rbx]", 16, 0],
      ["fld tbyte ptr [rbx]", 10, 0],
      ["lea rsp, [rbx]\npop rax", 8, 0],
      ["lea rsi, [rbx]\nlodsq", 8, 0],
    ] as const;

    test.each(ACCESSES)("%s", (text, size, write) => {
      const root = stage.frame();
      const [first, second] = [stage.filled(0x1111111111111111n), stage.filled(0x2222222222222222n)];
      // Hot in the middle of the page first, then at its border.
      stage.map(root, CODE, stage.code(`fninit\nfld1\n${text}\nint3`, CODE));
      stage.map(root, DATA, first);
      stage.map(root, SECOND, second, PAGE.absent);
      const vcpu = stage.vcpu(root, CODE);
      const { bytes } = stage.engine.memory;
      const start = (at: bigint) => {
        vcpu.rip = CODE;
        vcpu.regs[RAX] = 0x0102030405060708n;
        vcpu.regs[3] = at;
        return stage.run(vcpu, 100);
      };
      for (let round = 0; round < 30; round++) expect(start(DATA + 256n).reason).toBe(EXIT.INTERRUPT);
      for (let over = 1; over < size; over++) {
        const at = SECOND - BigInt(over);
        const before = bytes.slice(first * 4096, first * 4096 + 4096);
        let exit = start(at);
        expect([exit.reason, exit.vector, exit.errorCode, exit.address]).toEqual([
          EXIT.FAULT,
          PAGE_FAULT,
          MISSING | write,
          SECOND,
        ]);
        expect(before.every((byte, offset) => byte === bytes[first * 4096 + offset])).toBe(true);
        if (write) {
          stage.map(root, SECOND, second, PAGE.readOnly);
          exit = start(at);
          expect([exit.reason, exit.vector, exit.errorCode, exit.address]).toEqual([
            EXIT.FAULT,
            PAGE_FAULT,
            DENIED | WRITE,
            SECOND,
          ]);
          expect(before.every((byte, offset) => byte === bytes[first * 4096 + offset])).toBe(true);
        }
        stage.map(root, SECOND, second);
        expect(start(at).reason).toBe(EXIT.INTERRUPT);
        stage.map(root, SECOND, second, PAGE.absent);
        tlb.flushPage(SECOND);
      }
    });
  });

  test("an instruction over a page's border: its second page is missing, comes, changes, and goes", () => {
    const at = CODE + 4094n;
    const root = stage.frame();
    const first = stage.frame();
    const tails = [1, 2].map((value) => {
      const frame = stage.frame();
      // The rest of "mov eax, imm32", then a breakpoint.
      stage.engine.memory.bytes.set([0, 0, value, 0xcc], frame * 4096);
      return frame;
    });
    stage.engine.memory.bytes.set([0xb8, 7], first * 4096 + 4094);
    stage.map(root, CODE, first);
    const vcpu = stage.vcpu(root, at);
    const start = () => {
      vcpu.rip = at;
      return stage.run(vcpu, 100);
    };
    for (let round = 0; round < 30; round++) {
      stage.map(root, CODE + 4096n, 0, PAGE.absent);
      tlb.flushPage(CODE + 4096n);
      const exit = start();
      expect([exit.reason, exit.vector, exit.errorCode, exit.address, vcpu.rip]).toEqual([
        EXIT.FAULT,
        PAGE_FAULT,
        MISSING | FETCH,
        CODE + 4096n,
        at,
      ]);
      for (const [index, tail] of tails.entries()) {
        stage.map(root, CODE + 4096n, tail);
        tlb.flushPage(CODE + 4096n);
        for (let again = 0; again < 3; again++) {
          expect(start().reason).toBe(EXIT.INTERRUPT);
          expect(vcpu.regs[RAX]).toBe(BigInt(7 + ((index + 1) << 24)));
        }
      }
    }
  });
});
