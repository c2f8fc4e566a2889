import { createEngine } from "@paravirt/cpu";
import { createTableBuilder } from "@paravirt/paging";
import { HYPERVISOR } from "@paravirt/xen-abi";
import { describe, expect, test } from "vitest";
import { testClock } from "../test/fake-guest.ts";
import { type Domain, type GrantMapping, Hypervisor, mapGrant } from "./index.ts";

const BASE = 0xffff_ffff_8000_0000n;

/** A domain on the real engine: `code` at BASE, a page of data after it, a stack after that. */
function realGuest(hypervisor: Hypervisor, code: readonly number[]): Domain {
  const domain = hypervisor.createDomain({ maxPages: 32 });
  let pfn = 0;
  const frame = (): number => hypervisor.paging.populatePhysmap(domain.memory, 0, pfn++);
  const root = frame();
  const pages = [frame(), frame(), frame()];
  const builder = createTableBuilder({ memory: hypervisor.memory, root, allocateTable: frame });
  for (const [index, mfn] of pages.entries()) builder.map(BASE + BigInt(index * 4096), mfn, 0x67);
  hypervisor.memory.bytes.set(code, (pages[0] as number) * 4096);
  expect(hypervisor.paging.pin(domain.memory, 4, root)).toBe(0);
  domain.vcpus[0]?.startPv({ entry: BASE, stack: BASE + 3n * 4096n, startInfo: 0n, root });
  domain.unpause();
  return domain;
}

function machine(): Hypervisor {
  return new Hypervisor({
    createEngine: (ports) => createEngine({ memoryBytes: 16 * 2 ** 20, ports }),
    clock: testClock(),
  });
}

const move32 = (register: number, value: number): number[] => [
  0xb8 + register,
  value & 255,
  (value >> 8) & 255,
  (value >> 16) & 255,
  (value >>> 24) & 255,
];
const SYSCALL = [0x0f, 0x05];
/** sched_op(SCHEDOP_shutdown, BASE + 4096), where reason lies. */
const SHUTDOWN = [...move32(0, HYPERVISOR.sched_op), ...move32(7, 2), 0x48, 0xc7, 0xc6, 0, 0x10, 0, 0x80, ...SYSCALL];

describe("on the real engine", () => {
  test("a guest asks, is answered, and powers off", () => {
    const hypervisor = machine();
    const domain = realGuest(hypervisor, [
      ...move32(0, HYPERVISOR.xen_version),
      ...move32(7, 0),
      ...SYSCALL,
      ...SHUTDOWN,
    ]);
    expect(hypervisor.runVcpu(domain.vcpus[0] as never, 1000)).toBe("shutdown");
    expect(domain.shutdown).toEqual({ reason: 0 });
    expect(domain.vcpus[0]?.history.list()[0]).toMatchObject({ number: 17, result: 0x40011n });
    expect(hypervisor.hypercallCounts(domain)).toEqual({
      xen_version: { calls: 1, operations: { version: 1 } },
      sched_op: { calls: 1, operations: { shutdown: 1 } },
    });
  });

  test("CPUID behind the prefix, and without, gives Xen's leaves", () => {
    const hypervisor = machine();
    const leaf = [...move32(0, 0x40000001), ...move32(1, 0)];
    const prefixed = [0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2];
    // mov esi, eax; ...; cmp eax, esi; jne to itself
    const code = [...leaf, ...prefixed, 0x89, 0xc6, ...leaf, 0x0f, 0xa2, 0x39, 0xf0, 0x75, 0xfe, ...SHUTDOWN];
    const domain = realGuest(hypervisor, code);
    expect(hypervisor.runVcpu(domain.vcpus[0] as never, 1000)).toBe("shutdown");
    expect(domain.shutdown?.reason).toBe(0);
  });

  test("two domains run side by side; one that jumps to nonsense ends alone", () => {
    const hypervisor = machine();
    const loop = realGuest(hypervisor, [0xeb, 0xfe]);
    const wild = realGuest(hypervisor, [0x48, 0xc7, 0xc0, 0x34, 0x12, 0, 0, 0xff, 0xe0]);
    for (let slice = 0; slice < 5; slice++) {
      for (const domain of [loop, wild]) hypervisor.runVcpu(domain.vcpus[0] as never, 1000);
    }
    expect(wild.shutdown?.reason).toBe(3);
    expect(wild.shutdown?.crash?.reason).toContain("page fault at 0x1234");
    expect(loop.running).toBe(true);
    expect(hypervisor.runVcpu(loop.vcpus[0] as never, 1000)).toBe("budget");
    hypervisor.destroyDomain(wild);
    expect(hypervisor.list()).toEqual([loop]);
  });

  test("a backend's write to a page of code is seen by the guest", () => {
    const hypervisor = machine();
    // Calls BASE + 4096, which only returns, for ever.
    const domain = realGuest(hypervisor, [0xe8, 0xfb, 0x0f, 0, 0, 0xeb, 0xf9]);
    const page = hypervisor.paging.findL1Entry(domain.vcpus[0]?.kernelRoot as number, BASE + 4096n);
    const mfn = Number(((hypervisor.memory.quads[page / 8] as bigint) >> 12n) & 0xfffffn);
    hypervisor.memory.bytes[mfn * 4096] = 0xc3;
    domain.grants.seed(0, 0, mfn);
    expect(hypervisor.runVcpu(domain.vcpus[0] as never, 10_000)).toBe("budget");
    const mapping = mapGrant(domain, 0) as GrantMapping;
    mapping.bytes.set([...SHUTDOWN.slice(0, 10), 0x48, 0xc7, 0xc6, 0, 0x08, 0, 0x80, ...SYSCALL]);
    mapping.release();
    expect(hypervisor.runVcpu(domain.vcpus[0] as never, 10_000)).toBe("shutdown");
    expect(domain.shutdown?.reason).toBe(0);
  });
});
