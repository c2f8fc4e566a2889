import { HYPERVISOR, layout, XENMEM } from "@paravirt/xen-abi";
import { expect, test } from "vitest";
import { instructionClock } from "./clock.ts";
import { createMachine } from "./machine.ts";
import { assembleGuest } from "./mini/assemble-guest.ts";
import { miniGuest } from "./mini/mini-guest.ts";

const RESERVATION = layout("xen_memory_reservation", "x86_64");
const DOMID_SELF = 0x7ff0;
const WRITABLE = 7;

/** Ends a guest so that its last hypercalls can be read in the crash report. */
const END = "ud2";

test("a guest that asks for more memory than it may have gets none, and others can still be made", async () => {
  const greedy = assembleGuest(
    ({ hypercall }) => `
    mov ebx, 8
  again:
    mov edi, ${XENMEM.increase_reservation}
    lea rsi, [rip + reservation]
    ${hypercall("memory_op")}
    dec ebx
    jnz again
    ${END}
    .align 8
  reservation:
    .quad 0                            ; the frames' numbers are not wanted
    .quad 100000
    .long 0
    .long 0
    .long ${DOMID_SELF}
    .zero ${RESERVATION.size - 28}`,
  );
  const machine = createMachine({ memory: 32, clock: instructionClock() });
  const domain = await machine.createDomain({ kernel: greedy, memory: 8 });
  const neighbour = await machine.createDomain({ kernel: miniGuest(), memory: 24 });
  const { reason, crash } = await domain.shutdown;
  expect(reason).toBe("crash");
  const calls = crash!.hypercalls;
  expect(calls.map(({ number, result }) => [number, result])).toEqual(
    Array.from({ length: 8 }, () => [HYPERVISOR.memory_op, 0n]),
  );
  expect((await neighbour.shutdown).reason).toBe("poweroff");
  machine.close();
});

test("a guest can map none of the frames that are not its own", async () => {
  // Every frame of the machine in turn, over a page of its own; what succeeds is counted in r12.
  const curious = (frames: number) =>
    assembleGuest(
      ({ hypercall }) => `
    xor ebx, ebx
    xor r12d, r12d
  again:
    lea rdi, [rip + page_shared_info]
    mov rsi, rbx
    shl rsi, 12
    or rsi, ${WRITABLE}
    xor edx, edx
    ${hypercall("update_va_mapping")}
    test rax, rax
    jnz refused
    inc r12
    lea rdi, [rip + page_shared_info]
    mov byte ptr [rdi], 0x66
  refused:
    inc rbx
    cmp rbx, ${frames}
    jb again
    ${END}`,
    );
  const machine = createMachine({ memory: 16, clock: instructionClock() });
  const victim = await machine.createDomain({ kernel: miniGuest(), memory: 8, paused: true });
  // As many frames as the engine and the machine have together, and some more.
  const domain = await machine.createDomain({ kernel: curious(0x20000), memory: 8 });
  const { reason, crash } = await domain.shutdown;
  expect(reason).toBe("crash");
  expect(crash!.reason).toContain("trap 6");
  const mapped = Number(crash!.registers[12]);
  // Its own 2048 but for page tables, and its shared_info.
  expect(mapped).toBeGreaterThan(1000);
  expect(mapped).toBeLessThanOrEqual(8 * 256 + 1);
  const text = new Response(victim.console.readable).text();
  victim.unpause();
  expect((await victim.shutdown).reason).toBe("poweroff");
  expect(await text).toContain("timer: event");
  machine.close();
});
