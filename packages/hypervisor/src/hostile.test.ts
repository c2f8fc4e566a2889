import { EXIT } from "@paravirt/cpu";
import { HYPERVISOR } from "@paravirt/xen-abi";
import { describe, expect, test } from "vitest";
import { ARGUMENTS, at, FakeGuest, PAGES, STACK, testHypervisor } from "../test/fake-guest.ts";
import { auditHypervisor, formatCrash, HYPERCALLS } from "./index.ts";

/** A repeatable source of 64 random bits. */
function randomBits(seed: bigint): () => bigint {
  let state = seed;
  return () => {
    state ^= (state << 13n) & 0xffff_ffff_ffff_ffffn;
    state ^= state >> 7n;
    state ^= (state << 17n) & 0xffff_ffff_ffff_ffffn;
    return state;
  };
}

/** An argument: small numbers, addresses of the guest, of Xen, of nothing, and plain noise. */
function argument(random: () => bigint, guest: FakeGuest): bigint {
  const value = random();
  switch (Number(value % 12n)) {
    case 0:
      return (value >> 8n) % 40n;
    case 1:
      return at(ARGUMENTS, Number((value >> 8n) % 4096n));
    case 2:
      return at(Number((value >> 8n) % BigInt(PAGES)), Number((value >> 20n) % 4096n));
    case 3:
      return BigInt(guest.frames[Number((value >> 8n) % BigInt(PAGES))] as number);
    case 4:
      return 0xffff_8000_0000_0000n + (value & 0xffff_ffffn);
    case 5:
      return BigInt(guest.domain.id);
    case 6:
      return 0x7ff0n;
    case 8:
      // An entry of its page table, and what could stand there.
      return BigInt(guest.l1 * 4096) + ((value >> 8n) % 512n) * 8n;
    case 9:
      return (BigInt(guest.frames[Number((value >> 8n) % BigInt(PAGES))] as number) << 12n) | ((value >> 20n) & 0x67n);
    case 10:
      return BigInt([guest.root, guest.l1][Number((value >> 8n) & 1n)] as number);
    case 7:
      return (value >> 8n) & 0x3fn;
    default:
      return value;
  }
}

describe("a hostile guest", () => {
  test("issuing every hypercall with random arguments and memory gets answers or ends; another guest goes on", () => {
    const log: string[] = [];
    const hypervisor = testHypervisor({ log: (_domain, text) => log.push(text) });
    const bystander = new FakeGuest(hypervisor);
    bystander.page(40).fill(0x77);
    const succeeded = new Map<number, number>();
    const random = randomBits(0x1234_5678_9abc_def1n);
    let guest = new FakeGuest(hypervisor, { vcpus: 3 });
    let domains = 1;
    for (let round = 0; round < 240; round++) {
      for (const { number } of HYPERCALLS) {
        // A random frame under iret ends a domain almost surely; others shall have time to build up state.
        if (number === HYPERVISOR.iret && round % 12 !== 11) continue;
        if (guest.domain.shutdown !== undefined || guest.domain.vcpus.every((vcpu) => vcpu.down)) {
          expect(formatCrash(hypervisor.inspect(guest.vcpu, "test"))).toContain("last");
          hypervisor.destroyDomain(guest.domain);
          expect(auditHypervisor(hypervisor)).toEqual([]);
          guest = new FakeGuest(hypervisor, { vcpus: 3 });
          domains++;
        }
        const view = guest.view(ARGUMENTS);
        for (let at = 0; at < 4096; at += 8) view.setBigUint64(at, argument(random, guest), true);
        const args = Array.from({ length: 6 }, () => argument(random, guest));
        // Often an operation that exists, on the page of arguments.
        if (random() % 3n !== 0n) args[0] = (random() >> 8n) % 15n;
        if (random() % 3n !== 0n)
          args[random() % 2n === 0n ? 1 : 2] = at(ARGUMENTS, Number((random() >> 8n) % 32n) * 8);
        if (number === HYPERVISOR.grant_table_op) args[2] = (random() >> 8n) % 3n;
        guest.vcpu.blocked = false;
        guest.vcpu.upcallMasked = true;
        guest.cpu.scripts.length = 0;
        guest.queueCall(number, ...args);
        hypervisor.runVcpu(guest.vcpu, 50);
        if (BigInt.asIntN(64, guest.cpu.regs[0] as bigint) >= 0n)
          succeeded.set(number, (succeeded.get(number) ?? 0) + 1);
        hypervisor.runTimers();
        hypervisor.runListeners();
      }
    }
    // Not only refusals: most calls that can succeed did.
    expect(succeeded.size).toBeGreaterThan(20);
    expect(auditHypervisor(hypervisor)).toEqual([]);
    expect(log.filter((text) => text.includes("BUG"))).toEqual([]);
    expect(domains).toBeGreaterThan(1);
    expect(bystander.domain.running).toBe(true);
    expect(bystander.page(40).every((byte) => byte === 0x77)).toBe(true);
    expect(bystander.call(HYPERVISOR.xen_version, 0)).toBe(0x40011n);
    // Every reference is accounted for once the attacker is gone.
    hypervisor.destroyDomain(guest.domain);
    hypervisor.destroyDomain(bystander.domain);
    expect(hypervisor.paging.domain(guest.domain.id)).toBeUndefined();
    expect(hypervisor.paging.domain(bystander.domain.id)).toBeUndefined();
  });

  test("faulting at random with a random stack ends the slice, or the domain", () => {
    const hypervisor = testHypervisor();
    const random = randomBits(0xfeed_beef_1234_5677n);
    for (let round = 0; round < 60; round++) {
      const guest = new FakeGuest(hypervisor);
      for (let vector = 0; vector < 256; vector++) guest.vcpu.trapAddress[vector] = at(3);
      for (let step = 0; step < 40; step++) {
        guest.cpu.scripts.push((cpu) => {
          const bits = random();
          if (step % 10 === 9) cpu.regs[4] = bits;
          if (bits % 5n === 0n) return { reason: EXIT.INTERRUPT, vector: Number(bits >> 8n) & 255, length: 2 };
          if (bits % 7n === 0n) return { reason: EXIT.SYSENTER };
          return {
            reason: EXIT.FAULT,
            vector: Number(bits >> 8n) & 31,
            errorCode: Number(bits >> 16n) & 31,
            hasErrorCode: true,
            address: random(),
          };
        });
      }
      hypervisor.runVcpu(guest.vcpu, 5000);
      expect(guest.domain.running || guest.domain.shutdown?.reason === 3).toBe(true);
      hypervisor.destroyDomain(guest.domain);
    }
  });

  test("a handler that faults for ever does not hold the processor", () => {
    const guest = new FakeGuest(testHypervisor());
    guest.vcpu.trapAddress[6] = at(3);
    const fault = (): object => {
      guest.cpu.regs[4] = at(STACK + 1);
      guest.cpu.scripts.push(fault);
      return { reason: EXIT.FAULT, vector: 6 };
    };
    guest.cpu.scripts.push(fault);
    expect(guest.hypervisor.runVcpu(guest.vcpu, 10_000)).toBe("budget");
  });

  test("a mistake of ours ends that domain only, with a report of it", () => {
    const log: string[] = [];
    const hypervisor = testHypervisor({ log: (_domain, text) => log.push(text) });
    const other = new FakeGuest(hypervisor);
    const guest = new FakeGuest(hypervisor);
    guest.call(HYPERVISOR.xen_version, 0);
    guest.cpu.regs[3] = 0xabcn;
    guest.cpu.scripts.push(() => {
      throw new Error("planted");
    });
    expect(hypervisor.runVcpu(guest.vcpu, 10)).toBe("shutdown");
    const crash = guest.domain.shutdown?.crash;
    expect(crash?.reason).toContain("planted");
    expect(log.join("")).toContain("BUG");
    expect(other.domain.running).toBe(true);
    const text = formatCrash(crash as never);
    expect(text).toContain("rbx 0000000000000abc");
    expect(text).toContain("xen_version(0x0, ");
    expect(text).toContain("= 262161");
  });
});
