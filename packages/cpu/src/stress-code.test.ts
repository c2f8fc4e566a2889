import { beforeEach, describe, expect, test } from "vitest";
import { SELECTOR } from "../agreement/places.ts";
import { Random } from "../agreement/random.ts";
import { PAGE, Stage, WAYS } from "../agreement/stage.ts";
import { EXIT } from "./index.ts";

const CODE = 0xc00000n;
const ALIAS = 0xd00000n;
const DATA = 0xa00000n;
const STACK = 0xb00000n;
const RAX = 0;
const RCX = 1;
const RSP = 4;

describe.each(WAYS)("%s", (way) => {
  const stage = new Stage(way);
  beforeEach(() => stage.reset());

  /** Two pages of code at CODE, again at ALIAS; data and stack. */
  function prepare(source: string, offset = 0n) {
    const root = stage.frame();
    const [first, second] = [stage.frame(), stage.frame()];
    stage.patch(first, source, CODE + offset);
    [first, second].forEach((frame, index) => {
      stage.map(root, CODE + BigInt(index * 4096), frame);
      stage.map(root, ALIAS + BigInt(index * 4096), frame);
    });
    stage.map(root, DATA, stage.frame());
    stage.map(root, STACK, stage.frame());
    const vcpu = stage.vcpu(root, CODE + offset);
    vcpu.regs[RSP] = STACK + 4096n;
    return { root, vcpu, first, second };
  }

  function breakpointAfter(source: string, offset = 0n) {
    const prepared = prepare(source, offset);
    const exit = stage.run(prepared.vcpu, 1_000_000);
    expect([exit.reason, exit.vector]).toEqual([EXIT.INTERRUPT, 3]);
    return prepared;
  }

  // Each store adds one to the immediate of "add eax, imm32" (or puts ECX there), every time round.
  const STORES = {
    "inc byte": "inc byte ptr [rdx]",
    "add word": "add word ptr [rdx], 1",
    "lock inc dword": "lock inc dword ptr [rdx]",
    "mov dword": "mov ebx, [rdx]\ninc ebx\nmov [rdx], ebx",
    xchg: "mov ebx, [rdx]\ninc ebx\nxchg [rdx], ebx",
    "mov byte": "mov bl, [rdx]\ninc bl\nmov [rdx], bl",
    stosb: "mov rsi, rax\nmov rdi, rdx\nmov al, [rdx]\ninc al\nstosb\nmov rax, rsi",
    "rep movsb":
      "mov ebx, [rdx]\ninc ebx\nmov [0xa00000], ebx\nmov esi, 0xa00000\nmov rdi, rdx\npush rcx\nmov ecx, 4\nrep movsb\npop rcx",
    "movd from SSE": "mov ebx, [rdx]\ninc ebx\nmovd xmm0, ebx\nmovd [rdx], xmm0",
    "movups over all of it": "movups xmm0, [rdx-1]\nmovups xmm1, [0xa00100]\npaddb xmm0, xmm1\nmovups [rdx-1], xmm0",
    push: "mov ebx, [rdx]\ninc ebx\nmov r9, rsp\nmovzx r8d, byte ptr [rdx+4]\nshl r8, 32\nmov r10d, [rdx+4]\nshl r10, 32\nor r10, rbx\nlea rsp, [rdx+8]\npush r10\nmov rsp, r9",
    "fistp dword": "fild dword ptr [rdx]\nfld1\nfaddp st(1), st(0)\nfistp dword ptr [rdx]",
    "through an alias": "inc byte ptr [rdx+0x100000]",
  };

  test.each(Object.entries(STORES))(
    "%s into the running loop takes effect at once, ahead and behind",
    (_name, store) => {
      for (const ahead of [true, false]) {
        const patch = "patch:\n.byte 0x05, 1, 0, 0, 0";
        const source = `
        mov byte ptr [0xa00101], 1
        xor eax, eax
        mov ecx, 60
        lea rdx, [rip+patch+1]
      again:
        ${ahead ? `${store}\n${patch}` : `${patch}\n${store}`}
        dec ecx
        jnz again
        int3`;
        const { vcpu } = breakpointAfter(source);
        // Ahead: 2 + 3 + … + 61; behind: 1 + 2 + … + 60.
        expect(vcpu.regs[RAX]).toBe(BigInt((60 * 61) / 2 + (ahead ? 60 : 0)));
      }
    },
  );

  test("a call pushes its return address over the code that it returns to", () => {
    // The call pushes 8 bytes over "mov eax, 1" and what follows: the return leads into them.
    const { vcpu } = prepare(
      "lea rsp, [rip+over+8]\ncall target\nover:\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nint3\ntarget:\nmov rax, [rip+over]\nint3",
    );
    expect(stage.run(vcpu).reason).toBe(EXIT.INTERRUPT);
    expect(vcpu.regs[RAX]).toBe(vcpu.regs[RSP]);
  });

  test("an instruction that crosses a page is rewritten in either half, from either page", () => {
    for (const half of [1, 4]) {
      // "add eax, imm32" begins two bytes before the page's end: its immediate lies on both sides.
      const source = `
        xor eax, eax
        mov ecx, 100
        lea rdx, [rip+patch+${half}]
      again:
        jmp patch
        .zero (4094 - .) & 4095
      patch:
        .byte 0x05, 1, 0, 0, 0
        inc byte ptr [rdx]
        dec ecx
        jnz again
        int3`;
      const root = stage.frame();
      const linear = new Uint8Array(8192);
      const first = stage.code(source, CODE + 0xf00n);
      // The source spans two frames that follow each other: take the second one for the second page.
      const second = stage.frame();
      linear.set(stage.engine.memory.bytes.subarray(first * 4096, first * 4096 + 8192));
      expect(second).toBe(first + 1);
      stage.map(root, CODE, first);
      stage.map(root, CODE + 4096n, second);
      const vcpu = stage.vcpu(root, CODE + 0xf00n);
      expect(stage.run(vcpu).reason).toBe(EXIT.INTERRUPT);
      const step = half === 1 ? 1 : 1 << 24;
      let expected = 0;
      for (let round = 0; round < 100; round++) expected = (expected + 1 + round * step) >>> 0;
      expect(vcpu.regs[RAX]).toBe(BigInt(expected));
    }
  });

  test("code that is written now and then stays hot and right", () => {
    const random = new Random(7);
    for (let round = 0; round < 12; round++) {
      const every = random.pick([1, 3, 7, 15, 63]);
      const filler = Array.from({ length: random.below(12) }, () => "lea rsi, [rsi+rdi*2+1]\n").join("");
      const source = `
        xor eax, eax
        mov ecx, 3000
        lea rdx, [rip+patch+1]
      again:
        test ecx, ${every}
        jnz patch
        inc byte ptr [rdx]
        ${filler}
      patch:
        .byte 0x05, 1, 0, 0, 0
        dec ecx
        jnz again
        int3`;
      const { vcpu } = breakpointAfter(source, BigInt(random.below(3800)));
      let [expected, immediate] = [0, 1];
      for (let count = 3000; count > 0; count--) {
        if ((count & every) === 0) immediate = (immediate + 1) & 255;
        expected = (expected + immediate) >>> 0;
      }
      expect(vcpu.regs[RAX]).toBe(BigInt(expected));
    }
  });

  test("a function is rewritten as a whole before each call, as a just-in-time compiler does", () => {
    const source = `
      xor r8d, r8d
      mov ecx, 400
    again:
      mov rdi, ${DATA + 0x800n}
      mov byte ptr [rdi], 0xb8
      mov [rdi+1], ecx
      mov byte ptr [rdi+5], 0xc3
      call rdi
      add r8, rax
      dec ecx
      jnz again
      int3`;
    const { vcpu } = breakpointAfter(source);
    expect(vcpu.regs[8]).toBe(BigInt((400 * 401) / 2));
  });

  test("another VCPU and the host change code between two slices of a hot loop", () => {
    const { root, vcpu, first } = prepare(
      "again:\nadd eax, 1\nnop\njmp again\n.byte 0, 0, 0, 0, 0, 0, 0\ninc byte ptr [rip-15]\nint3",
    );
    // 83 C0 01: the immediate is at offset 2.
    const other = stage.vcpu(root, 0n);
    stage.map(root, DATA, stage.code(`inc byte ptr [${CODE + 2n}]\nint3`, DATA));
    let step = 1;
    for (let round = 0; round < 40; round++) {
      vcpu.regs[RAX] = 0n;
      vcpu.rip = CODE;
      const from = vcpu.instructions;
      stage.run(vcpu, 600);
      const rounds = Math.ceil((vcpu.instructions - from) / 3);
      expect(vcpu.regs[RAX]).toBe(BigInt.asUintN(32, BigInt(rounds * ((step << 24) >> 24))));
      if (round % 2 === 0) {
        other.rip = DATA;
        expect(stage.run(other, 10).reason).toBe(EXIT.INTERRUPT);
      } else {
        const at = first * 4096 + 2;
        stage.engine.memory.bytes[at] = stage.engine.memory.bytes[at]! + 1;
        stage.engine.frames.written(first);
      }
      step++;
    }
  });

  test("one frame mapped twice runs at both addresses, each with its own RIP", () => {
    const { vcpu } = prepare(
      "xor eax, eax\nmov ecx, 200\nagain:\nlea rdx, [rip]\nadd rax, rdx\ndec ecx\njnz again\nint3",
    );
    for (let round = 0; round < 6; round++) {
      const base = round % 2 === 0 ? CODE : ALIAS;
      vcpu.rip = base;
      expect(stage.run(vcpu).reason).toBe(EXIT.INTERRUPT);
      // XOR and MOV are seven bytes, LEA seven more.
      expect(vcpu.regs[RAX]).toBe((base + 14n) * 200n);
      expect(vcpu.regs[RCX]).toBe(0n);
    }
  });

  test("the same bytes mean different things in 64-bit and 32-bit mode", () => {
    // 48 FF C0 is "inc rax", or "dec eax; inc eax".
    const { vcpu } = prepare(
      "mov ecx, 200\nagain:\n.byte 0x48, 0xff, 0xc0\n.byte 0x83, 0xe9, 0x01\n.byte 0x75, 0xf8\nint3",
    );
    for (let round = 0; round < 4; round++) {
      const wide = round % 2 === 0;
      vcpu.mode = wide ? 64 : 32;
      vcpu.selectors[1] = wide ? SELECTOR.code64 : SELECTOR.code32;
      vcpu.rip = CODE;
      vcpu.regs[RAX] = 5n;
      expect(stage.run(vcpu).reason).toBe(EXIT.INTERRUPT);
      expect(vcpu.regs[RAX]).toBe(wide ? 205n : 5n);
    }
  });

  test("a repeated string instruction that pauses many times ends as if it had not", () => {
    // Downwards it moves one element at a time and pauses after each 64.
    const source = `
      std
      mov ecx, 0x700
      mov edi, ${DATA + 0xfffn}
      mov esi, ${DATA + 0x6ffn}
      rep movsb
      cld
      int3`;
    const { root, vcpu } = prepare(source);
    const { bytes, quads } = stage.engine.memory;
    const data = Number(quads[stage.entry(root, DATA)]! >> 12n) * 4096;
    const image = Uint8Array.from({ length: 0x700 }, (_, index) => index * 7);
    bytes.set(image, data);
    expect(stage.run(vcpu).reason).toBe(EXIT.INTERRUPT);
    expect([vcpu.regs[RCX], vcpu.regs[7]]).toEqual([0n, DATA + 0x8ffn]);
    expect(bytes.slice(data + 0x900, data + 0x1000)).toEqual(image);
    expect(vcpu.instructions).toBe(6);
  });

  test("a rewritten jump changes the way out of a hot loop", () => {
    const source = `
      mov ecx, 500
    again:
      dec ecx
    patch:
      jnz again
      inc eax
      cmp eax, 3
      je done
      mov ecx, 500
      jmp again
    done:
      mov byte ptr [rip+patch], 0x74
      mov ecx, 500
      jmp again`;
    const { vcpu } = prepare(source);
    vcpu.regs[RAX] = 0n;
    // Then "jz again" falls through at once, EAX grows past 3, and only the budget ends it.
    expect(stage.run(vcpu, 20_000).reason).toBe(EXIT.BUDGET);
    expect(vcpu.regs[RAX]).toBeGreaterThan(1000n);
  });

  test("code runs into a page that is not executable, exactly at its border", () => {
    const { root, vcpu, first, second } = prepare("again:\ninc eax\njmp next\nnext:\n", 0xfe0n);
    stage.engine.memory.bytes.fill(0x90, first * 4096 + 0xfe4, first * 4096 + 4096);
    stage.map(root, CODE + 4096n, second, PAGE.noExecute);
    for (let round = 0; round < 20; round++) {
      vcpu.rip = CODE + 0xfe0n;
      const from = vcpu.instructions;
      const exit = stage.run(vcpu);
      expect([exit.reason, exit.vector, exit.errorCode, exit.address]).toEqual([EXIT.FAULT, 14, 21, CODE + 4096n]);
      expect([vcpu.rip, vcpu.instructions - from]).toEqual([CODE + 4096n, 30]);
    }
  });
});
