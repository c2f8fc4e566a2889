import { HYPERVISOR } from "@paravirt/xen-abi";
import { expect, test } from "vitest";
import { instructionClock } from "./clock.ts";
import { createMachine } from "./machine.ts";
import { assembleGuest } from "./mini/assemble-guest.ts";
import { miniGuest } from "./mini/mini-guest.ts";

/**
 * A guest that makes hypercalls of random number with random arguments: small numbers, addresses of its own image and of
 * a buffer of small words, and 64 random bits. xorshift64 in r15; nothing is expected of the answers.
 */
const hostile = (seed: number): Uint8Array =>
  assembleGuest(
    () => `
    mov r15, ${seed * 2654435761 + 1}
    lea r14, [rip + buffer]
  again:
    call random
    and eax, 31
    mov [r14], eax
    call random
    and eax, 63
    mov [r14 + 4], eax
    call random
    and eax, 511
    mov [r14 + 8], rax
    call argument
    mov rdi, rax
    call argument
    mov rsi, rax
    call argument
    mov rdx, rax
    call argument
    mov r10, rax
    call argument
    mov r8, rax
    call random
    and eax, 63
    cmp eax, ${HYPERVISOR.iret}        ; ends most guests at once
    je again
    cmp eax, ${HYPERVISOR.update_va_mapping}
    jne make_call
    cmp rdi, r14                       ; without its buffer it would be harmless
    je again
  make_call:
    syscall
    jmp again
  random:
    mov rax, r15
    shl rax, 13
    xor r15, rax
    mov rax, r15
    shr rax, 7
    xor r15, rax
    mov rax, r15
    shl rax, 17
    xor r15, rax
    mov rax, r15
    shr rax, 11
    ret
  argument:
    call random
    mov ebx, eax
    and ebx, 7
    shr rax, 3
    cmp ebx, 3
    jb small
    je own
    cmp ebx, 6
    jbe buffered
    ret
  small:
    and eax, 31
    ret
  own:
    and eax, 0xffff
    lea rcx, [rip + again]
    add rax, rcx
    ret
  buffered:
    mov rax, r14
    ret
    .align 4096
  buffer:
    .zero 4096`,
    { hypercallPage: false },
  );

test("guests that make random hypercalls hurt neither the machine nor another domain", async () => {
  const machine = createMachine({ memory: 64, clock: instructionClock() });
  const ends = new Map<string, number>();
  let calls = 0;
  for (let seed = 1; seed <= 16; seed++) {
    const domain = await machine.createDomain({ kernel: hostile(seed), memory: 8, name: `hostile ${seed}` });
    void domain.console.readable.cancel();
    let ended = false;
    void domain.shutdown.then(() => {
      ended = true;
    });
    const other = seed % 8 === 0 ? await machine.createDomain({ kernel: miniGuest(), memory: 8 }) : undefined;
    if (other) expect((await other.shutdown).reason).toBe("poweroff");
    for (let turn = 0; turn < 8 && !ended; turn++) await new Promise((resolve) => setImmediate(resolve));
    domain.destroy();
    const { reason } = await domain.shutdown;
    ends.set(reason, (ends.get(reason) ?? 0) + 1);
    for (const count of Object.values(machine.statistics().hypercalls[domain.id]!)) calls += count.calls;
  }
  expect(machine.error).toBeUndefined();
  expect(calls).toBeGreaterThan(2000);
  expect(machine.xenstore.list("/local/domain")).toEqual(["0"]);
  // All memory is free again.
  const last = await machine.createDomain({ kernel: miniGuest(), memory: 64 });
  expect((await last.shutdown).reason).toBe("poweroff");
  machine.close();
});
