import { isParavirtError } from "@paravirt/core";
import { CONSOLEIO, EVTCHNOP, layout, SCHEDOP } from "@paravirt/xen-abi";
import { afterEach, expect, test } from "vitest";
import { instructionClock } from "./clock.ts";
import { createMachine, type Machine } from "./machine.ts";
import { assembleGuest } from "./mini/assemble-guest.ts";
import { miniGuest } from "./mini/mini-guest.ts";
import type { MachineOptions } from "./options.ts";

const machines: Machine[] = [];

function machineOf(options: MachineOptions = {}): Machine {
  const machine = createMachine({ memory: 32, clock: instructionClock(), ...options });
  machines.push(machine);
  return machine;
}

afterEach(() => {
  for (const machine of machines.splice(0)) {
    machine.close();
    expect(machine.error).toBeUndefined();
  }
});

const textOf = (stream: ReadableStream<Uint8Array>): Promise<string> => new Response(stream).text();
const spinning = assembleGuest(() => "forever: jmp forever");
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return isParavirtError(error) ? error.code : `no typed error: ${error}`;
}

test("two runs with an instruction clock are equal, to the byte and to the instruction", async () => {
  const run = async () => {
    const machine = machineOf();
    const one = await machine.createDomain({ kernel: miniGuest(), memory: 8, name: "one" });
    const two = await machine.createDomain({ kernel: miniGuest({ hypercallPage: false }), memory: 8, name: "two" });
    const texts = Promise.all([textOf(one.console.readable), textOf(two.console.readable)]);
    await Promise.all([one.shutdown, two.shutdown]);
    return { texts: await texts, statistics: machine.statistics(), times: [one.cpuTime, two.cpuTime] };
  };
  const first = await run();
  expect(first.texts[1]).toContain("name = two\ndomid = 2\n");
  expect(await run()).toEqual(first);
});

test("spinning domains share the processor by weight", async () => {
  const machine = machineOf();
  const light = await machine.createDomain({ kernel: spinning, memory: 8, weight: 256 });
  const heavy = await machine.createDomain({ kernel: spinning, memory: 8, weight: 768 });
  await until(() => machine.statistics().instructions > 400_000_000);
  expect(heavy.cpuTime / light.cpuTime).toBeGreaterThan(2.6);
  expect(heavy.cpuTime / light.cpuTime).toBeLessThan(3.4);
});

test("a capped domain gets its percentage, though nobody else wants the processor", async () => {
  const clock = instructionClock();
  const machine = machineOf({ clock });
  const domain = await machine.createDomain({ kernel: spinning, memory: 8, cap: 20 });
  await until(() => clock.now() > 1_500_000_000n);
  const share = domain.cpuTime / Number(clock.now());
  expect(share).toBeGreaterThan(0.15);
  expect(share).toBeLessThan(0.25);
});

test("a domain that crashes leaves the others unharmed", async () => {
  const machine = machineOf();
  const bad = await machine.createDomain({ kernel: miniGuest({ ending: "crash" }), memory: 8 });
  const good = await machine.createDomain({ kernel: miniGuest(), memory: 8 });
  expect((await bad.shutdown).reason).toBe("crash");
  expect(await good.shutdown).toEqual({ reason: "poweroff", code: 0 });
  expect(machine.domains).toEqual([]);
});

test("a jump to nonsense is a crash that says where", async () => {
  const machine = machineOf();
  const domain = await machine.createDomain({
    kernel: assembleGuest(() => "mov rax, 0x123456789000\n jmp rax"),
    memory: 8,
  });
  const { reason, crash } = await domain.shutdown;
  expect(reason).toBe("crash");
  expect(crash).toMatchObject({ domain: 1, vcpu: 0, rip: 0x123456789000n, kernelMode: true });
  expect(crash!.reason).toContain("page fault at 0x123456789000");
});

test("wrong sizes and images are typed errors that leave nothing behind", async () => {
  expect(() => createMachine({ memory: 0 })).toThrow("0 MiB of machine memory");
  const machine = machineOf({ memory: 32 });
  const kernel = miniGuest();
  expect(await codeOf(machine.createDomain({ kernel, memory: 0 }))).toBe("OUT_OF_RANGE");
  expect(await codeOf(machine.createDomain({ kernel, memory: 1.5 }))).toBe("OUT_OF_RANGE");
  expect(await codeOf(machine.createDomain({ kernel, memory: 8, vcpus: 0 }))).toBe("OUT_OF_RANGE");
  expect(await codeOf(machine.createDomain({ kernel, memory: 8, vcpus: 10_000 }))).toBe("OUT_OF_RANGE");
  expect(await codeOf(machine.createDomain({ kernel, memory: 8, weight: 0 }))).toBe("OUT_OF_RANGE");
  expect(await codeOf(machine.createDomain({ kernel, memory: 8, cap: -1 }))).toBe("OUT_OF_RANGE");
  expect(await codeOf(machine.createDomain({ kernel: new Uint8Array(4096) }))).toBe("BAD_IMAGE");
  expect(await codeOf(machine.createDomain({ kernel: kernel.subarray(0, 5000), memory: 8 }))).toBe("BAD_IMAGE");
  expect(await codeOf(machine.createDomain({ kernel, memory: 4, initrd: new Uint8Array(8 << 20) }))).toBe(
    "OUT_OF_MEMORY",
  );
  for (let i = 0; i < 3; i++) expect(await codeOf(machine.createDomain({ kernel, memory: 64 }))).toBe("OUT_OF_MEMORY");
  expect(machine.domains).toEqual([]);
  expect(machine.xenstore.list("/local/domain")).toEqual(["0"]);
  for (let i = 0; i < 3; i++) {
    const domain = await machine.createDomain({ kernel, memory: 32 });
    expect((await domain.shutdown).reason).toBe("poweroff");
  }
  const error = await machine.createDomain({ kernel, memory: 64 }).catch((reason: Error) => reason);
  expect((error as Error).message).toMatch(/has 55 MiB left, 64 MiB were asked for/);
});

const START = layout("start_info", "x86_64");
const CONSOLE = layout("xencons_interface", "x86_64");

const flooding = assembleGuest(
  ({ hypercall }) => `
  again:
    mov eax, [rsi + 0x2000 + ${CONSOLE.offsets.out_cons}]
    add eax, 2048
    mov [rsi + 0x2000 + ${CONSOLE.offsets.out_prod}], eax  ; full of whatever it had
    mov eax, [rsi + ${START.offsetOf("console.domU.evtchn")}]
    push rsi
    push rax
    mov rsi, rsp
    mov edi, ${EVTCHNOP.send}
    ${hypercall("event_channel_op")}
    mov edi, ${SCHEDOP.yield}
    ${hypercall("sched_op")}
    pop rax
    pop rsi
    jmp again`,
);

test("output that nobody reads stays bounded, and the guest waits for its reader", async () => {
  const machine = machineOf();
  const domain = await machine.createDomain({ kernel: flooding, memory: 8 });
  await until(() => (domain.hypercalls().sched_op?.calls ?? 0) > 20_000);
  const reader = domain.console.readable.getReader();
  let read = 0;
  const take = async () => {
    const { value } = await reader.read();
    read += value?.length ?? 0;
    return value !== undefined;
  };
  while (read < 1_000_000 && (await take()));
  await until(() => (domain.hypercalls().sched_op?.calls ?? 0) > 40_000);
  domain.destroy();
  read = 0;
  while (await take());
  expect(read).toBeGreaterThan(200_000);
  expect(read).toBeLessThan(300_000);
});

test("a guest whose console's reader is cancelled runs on", async () => {
  const machine = machineOf();
  const domain = await machine.createDomain({ kernel: miniGuest(), memory: 8 });
  await domain.console.readable.cancel();
  expect((await domain.shutdown).reason).toBe("poweroff");
});

test("signals end domains and machines", async () => {
  const all = new AbortController();
  const machine = machineOf({ signal: all.signal });
  const one = new AbortController();
  const first = await machine.createDomain({ kernel: spinning, memory: 8, signal: one.signal });
  const second = await machine.createDomain({ kernel: spinning, memory: 8 });
  await turn();
  one.abort();
  expect(await first.shutdown).toEqual({ reason: "destroyed", code: -1 });
  expect(machine.domains).toEqual([second]);
  await expect(machine.createDomain({ kernel: spinning, signal: one.signal })).rejects.toThrow("abort");
  all.abort();
  expect((await second.shutdown).reason).toBe("destroyed");
  expect(await codeOf(machine.createDomain({ kernel: spinning, memory: 8 }))).toBe("UNAVAILABLE");
  expect(await codeOf(machineOf({ signal: all.signal }).createDomain({ kernel: spinning, memory: 8 }))).toBe(
    "UNAVAILABLE",
  );
});

test("destroying a running domain frees its memory and ends its console", async () => {
  const machine = machineOf();
  for (let i = 0; i < 5; i++) {
    const domain = await machine.createDomain({ kernel: spinning, memory: 32, vcpus: 2 });
    const text = textOf(domain.console.readable);
    await until(() => domain.cpuTime > 0);
    domain.destroy();
    domain.destroy();
    expect(domain.running).toBe(false);
    expect((await domain.shutdown).reason).toBe("destroyed");
    expect(await text).toBe("");
    const time = domain.cpuTime;
    expect(time).toBeGreaterThan(0);
    domain.unpause();
    domain.pause();
    domain.requestShutdown();
    await turn();
    expect(domain.cpuTime).toBe(time);
  }
  expect(machine.xenstore.list("/local/domain")).toEqual(["0"]);
});

test("a domain may be destroyed from inside its own hypercall", async () => {
  const texts: string[] = [];
  const machine: Machine = machineOf({
    log: (_domain, text) => {
      texts.push(text);
      for (const domain of machine.domains) domain.destroy();
    },
  });
  const talking = assembleGuest(
    ({ hypercall }) => `
    mov edi, ${CONSOLEIO.write}
    mov esi, 3
    lea rdx, [rip + text]
    ${hypercall("console_io")}
    forever: jmp forever
    text: .ascii "hi\\n"`,
  );
  const domain = await machine.createDomain({ kernel: talking, memory: 32 });
  expect((await domain.shutdown).reason).toBe("destroyed");
  expect(texts.join("")).toContain("hi");
  await turn();
  const next = await machine.createDomain({ kernel: talking, memory: 32 });
  expect((await next.shutdown).reason).toBe("destroyed");
});

test("a paused domain runs only when it is let", async () => {
  const machine = machineOf();
  const domain = await machine.createDomain({ kernel: spinning, memory: 8, paused: true });
  await turn();
  expect(domain.cpuTime).toBe(0);
  domain.unpause();
  await until(() => domain.cpuTime > 0);
  domain.pause();
  const time = domain.cpuTime;
  for (let i = 0; i < 5; i++) await turn();
  expect(domain.cpuTime).toBe(time);
  domain.unpause();
  await until(() => domain.cpuTime > time);
});

test("a request to shut down is in the guest's xenstore", async () => {
  const machine = machineOf();
  const domain = await machine.createDomain({ kernel: spinning, memory: 8 });
  domain.requestShutdown();
  expect(machine.xenstore.read(`/local/domain/${domain.id}/control/shutdown`)).toBe("poweroff");
  domain.requestShutdown("reboot");
  expect(machine.xenstore.read(`/local/domain/${domain.id}/control/shutdown`)).toBe("reboot");
});
