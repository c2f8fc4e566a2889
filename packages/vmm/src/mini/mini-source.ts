import {
  CALLBACKOP,
  CALLBACKTYPE,
  EVTCHNOP,
  layout,
  SCHEDOP,
  SHUTDOWN,
  UVMF,
  VCPUOP,
  VIRQ,
  XENSTORE_RING_SIZE,
  XS,
} from "@paravirt/xen-abi";
import type { GuestMacros } from "./assemble-guest.ts";

/** How a mini guest ends. */
export type MiniEnding = "poweroff" | "reboot" | "crash" | "spin";

const START = layout("start_info", "x86_64");
const SHARED = layout("shared_info", "x86_64");
const CONSOLE = layout("xencons_interface", "x86_64");
const STORE = layout("xenstore_domain_interface", "x86_64");
const MESSAGE = layout("xsd_sockmsg", "x86_64");
const CALLBACK = layout("callback_register", "x86_64");
const BIND = layout("evtchn_bind_virq", "x86_64");
const TIMER = layout("vcpu_set_singleshot_timer", "x86_64");

/** Bytes of the console's output ring. */
const OUT_SIZE = CONSOLE.offsets.in_cons - CONSOLE.offsets.out;
/** Present, writable and for user mode, where a 64-bit PV kernel runs. */
const PTE = 7;
const TIMER_DELAY = 10_000_000;

/**
 * The kernel's source. r12: start_info; r13: console ring; r14: xenstore ring. The rings' pages follow start_info's,
 * as the domain builder lays them out.
 */
export function miniSource({ hypercall, iret, virtBase }: GuestMacros, ending: MiniEnding): string {
  const end: Record<MiniEnding, string> = {
    poweroff: shutdown(hypercall, SHUTDOWN.poweroff),
    reboot: shutdown(hypercall, SHUTDOWN.reboot),
    // There is no handler for invalid opcodes: Xen ends a domain that faults then.
    crash: "ud2",
    spin: "forever: jmp forever",
  };
  return `
    cld
    mov r12, rsi
    lea r13, [r12 + 0x2000]
    lea r14, [r12 + 0x1000]

    ; shared_info, over a page of our own
    lea rdi, [rip + page_shared_info]
    mov rsi, [r12 + ${START.offsets.shared_info}]
    or rsi, ${PTE}
    mov edx, ${UVMF.INVLPG}
    ${hypercall("update_va_mapping")}
    lea r15, [rip + page_shared_info]

    lea rsi, [rip + banner]
    call print
    mov rsi, r12                      ; start_info.magic is a text
    call print
    lea rsi, [rip + newline]
    call print

    ; does the list of machine frames name the console's page?
    mov rax, r13
    mov rcx, ${virtBase}
    sub rax, rcx
    shr rax, 12
    mov rcx, [r12 + ${START.offsets.mfn_list}]
    mov rax, [rcx + rax * 8]
    lea rsi, [rip + list_good]
    cmp rax, [r12 + ${START.offsetOf("console.domU.mfn")}]
    je list_said
    lea rsi, [rip + list_bad]
  list_said:
    call print

    lea rsi, [rip + key_name]
    call show
    lea rsi, [rip + key_domid]
    call show

    ; events: callback, VIRQ_TIMER
    mov edi, ${CALLBACKOP.register}
    lea rsi, [rip + callback]
    lea rax, [rip + on_event]
    mov [rsi + ${CALLBACK.offsets.address}], rax
    ${hypercall("callback_op")}
    test rax, rax
    jnz failed
    mov edi, ${EVTCHNOP.bind_virq}
    lea rsi, [rip + bind]
    ${hypercall("event_channel_op")}
    test rax, rax
    jnz failed
    mov edi, ${VCPUOP.set_singleshot_timer}
    xor esi, esi
    lea rdx, [rip + timer]
    mov rax, [r15 + ${SHARED.offsetOf("vcpu_info[0].time.system_time")}]
    add rax, ${TIMER_DELAY}
    mov [rdx + ${TIMER.offsets.timeout_abs_ns}], rax
    ${hypercall("vcpu_op")}
    test rax, rax
    jnz failed
  wait:
    mov edi, ${SCHEDOP.block}
    xor esi, esi
    ${hypercall("sched_op")}
    mov eax, [rip + bind + ${BIND.offsets.port}]
    bt [rip + events], eax
    jnc wait
    lea rsi, [rip + ticked]
    call print
    ${end[ending]}

  failed:
    lea rsi, [rip + refused]
    call print
    ${shutdown(hypercall, SHUTDOWN.crash)}

  ; Event callback: remembers the pending ports below 64 and forgets the rest. The frame has rcx and r11 on top.
  on_event:
    push rax
    mov byte ptr [r15 + ${SHARED.offsetOf("vcpu_info[0].evtchn_upcall_pending")}], 0
    xor eax, eax
    xchg [r15 + ${SHARED.offsetOf("vcpu_info[0].evtchn_pending_sel")}], rax
    xor eax, eax
    xchg [r15 + ${SHARED.offsets.evtchn_pending}], rax
    or [rip + events], rax
    pop rax
    pop rcx
    pop r11
    push 0
    ${iret}

  ; Prints the text at rsi up to its zero, and returns when the other side has taken it all.
  print:
    mov edx, [r13 + ${CONSOLE.offsets.out_prod}]
  print_next:
    lodsb
    test al, al
    jz print_end
    mov bl, al
  print_room:
    mov eax, edx
    sub eax, [r13 + ${CONSOLE.offsets.out_cons}]
    cmp eax, ${OUT_SIZE}
    jb print_put
    call kick_console
    jmp print_room
  print_put:
    mov eax, edx
    and eax, ${OUT_SIZE - 1}
    mov [r13 + rax + ${CONSOLE.offsets.out}], bl
    inc edx
    mov [r13 + ${CONSOLE.offsets.out_prod}], edx
    jmp print_next
  print_end:
    cmp edx, [r13 + ${CONSOLE.offsets.out_cons}]
    je print_done
    call kick_console
    jmp print_end
  print_done:
    ret

  kick_console:
    mov eax, [r12 + ${START.offsetOf("console.domU.evtchn")}]
    jmp kick
  kick_store:
    mov eax, [r12 + ${START.offsets.store_evtchn}]
  kick:
    push rsi
    push rdx
    mov [rip + send], eax
    mov edi, ${EVTCHNOP.send}
    lea rsi, [rip + send]
    ${hypercall("event_channel_op")}
    mov edi, ${SCHEDOP.yield}
    xor esi, esi
    ${hypercall("sched_op")}
    pop rdx
    pop rsi
    ret

  ; Reads the xenstore node that rsi names and prints "name = value".
  show:
    push rsi
    call print
    lea rsi, [rip + equals]
    call print
    pop rsi
    mov rdi, rsi
    xor eax, eax
    mov ecx, -1
    repne scasb
    not ecx                           ; length with its zero
    mov [rip + request + ${MESSAGE.offsets.len}], ecx
    push rsi
    push rcx
    lea rsi, [rip + request]
    mov ecx, ${MESSAGE.size}
    call store_put
    pop rcx
    pop rsi
    call store_put
    lea rdi, [rip + request]
    mov ecx, ${MESSAGE.size}
    call store_take
    mov ecx, [rip + request + ${MESSAGE.offsets.len}]
    cmp ecx, ${XENSTORE_RING_SIZE}
    ja failed
    lea rdi, [rip + value]
    call store_take
    mov byte ptr [rdi], 0
    mov dword ptr [rip + request + ${MESSAGE.offsets.type}], ${XS.READ}
    lea rsi, [rip + value]
    call print
    lea rsi, [rip + newline]
    jmp print

  ; Puts ecx bytes at rsi into the request ring. These messages always find room in it.
  store_put:
    mov edx, [r14 + ${STORE.offsets.req_prod}]
  store_put_next:
    mov eax, edx
    and eax, ${XENSTORE_RING_SIZE - 1}
    mov bl, [rsi]
    mov [r14 + rax + ${STORE.offsets.req}], bl
    inc rsi
    inc edx
    dec ecx
    jnz store_put_next
    mov [r14 + ${STORE.offsets.req_prod}], edx
    jmp kick_store

  ; Takes ecx bytes out of the response ring to rdi, waiting for them.
  store_take:
    mov edx, [r14 + ${STORE.offsets.rsp_cons}]
  store_take_next:
    test ecx, ecx
    jz store_take_end
    cmp edx, [r14 + ${STORE.offsets.rsp_prod}]
    jne store_take_byte
    push rdi
    push rcx
    call kick_store
    pop rcx
    pop rdi
    jmp store_take_next
  store_take_byte:
    mov eax, edx
    and eax, ${XENSTORE_RING_SIZE - 1}
    mov al, [r14 + rax + ${STORE.offsets.rsp}]
    stosb
    inc edx
    dec ecx
    mov [r14 + ${STORE.offsets.rsp_cons}], edx
    jmp store_take_next
  store_take_end:
    ret

    .align 8
  callback:
    .word ${CALLBACKTYPE.event}
    .zero ${CALLBACK.size - 2}
  bind:
    .long ${VIRQ.TIMER}
    .zero ${BIND.size - 4}
  timer:
    .zero ${TIMER.size}
    .align 8
  events:
    .quad 0
  send:
    .long 0
  reason:
    .long 0
  request:
    .long ${XS.READ}
    .zero ${MESSAGE.size - 4}
  banner:
    .asciz "mini guest: hello from ring 3 of "
  list_good:
    .asciz "frame list: good\\n"
  list_bad:
    .asciz "frame list: wrong\\n"
  key_name:
    .asciz "name"
  key_domid:
    .asciz "domid"
  equals:
    .asciz " = "
  newline:
    .asciz "\\n"
  ticked:
    .asciz "timer: event\\n"
  refused:
    .asciz "a hypercall was refused\\n"
  value:
    .zero ${XENSTORE_RING_SIZE + 1}
  `;
}

function shutdown(hypercall: GuestMacros["hypercall"], reason: number): string {
  return `mov edi, ${SCHEDOP.shutdown}
    lea rsi, [rip + reason]
    mov dword ptr [rsi], ${reason}
    ${hypercall("sched_op")}
    ud2`;
}
