// A VMM of one's own from single packages: an engine, a hypervisor, the domain builder, a console and a xenstore.
// Run: node examples/custom-vmm.mjs. (@paravirt/vmm is used for its tiny guest only.)
import { buildPvDomain, planPvDomain, readKernelImage } from "@paravirt/boot";
import { createConsole } from "@paravirt/console";
import { createEngine } from "@paravirt/cpu";
import { Hypervisor } from "@paravirt/hypervisor";
import { miniGuest } from "@paravirt/vmm";
import { createXenstore, populateDomain, populateHost } from "@paravirt/xenstore";

const hypervisor = new Hypervisor({
  createEngine: (ports) => createEngine({ memoryBytes: 48 << 20, ports }),
  clock: { now: () => process.hrtime.bigint(), wallClockBase: 0n },
});
const { paging, memory } = hypervisor;
const plan = planPvDomain(readKernelImage(miniGuest()), { pages: 4096 });
const domain = hypervisor.createDomain({ name: "own", maxPages: plan.pages });
const storePort = domain.events.allocateUnbound(0);
const consolePort = domain.events.allocateUnbound(0);
const built = buildPvDomain(
  plan,
  {
    populate: (pfn) => paging.populatePhysmap(domain.memory, 0, pfn),
    write: (mfn, offset, bytes) => memory.bytes.set(bytes, mfn * 4096 + offset),
    writeEntry: (table, index, target, flags) => {
      memory.quads[table * 512 + index] = BigInt(target) * 4096n + BigInt(flags);
    },
  },
  { sharedInfo: domain.sharedInfoMfn, storePort, consolePort },
);
paging.pin(domain.memory, 4, built.vcpu.cr3); // 4: the top-level table

const page = (mfn) => memory.bytes.subarray(mfn * 4096, mfn * 4096 + 4096);
const xenstore = createXenstore();
populateHost(xenstore.local);
populateDomain(xenstore.local, {
  domid: domain.id,
  name: "own",
  uuid: "00000000-0000-4000-8000-000000000001",
  memoryKiB: plan.pages * 4,
  vcpus: 1,
  store: { port: storePort, frame: built.storeFrame },
  console: { port: consolePort, frame: built.consoleFrame },
});
const ring = xenstore.introduce(domain.id, { page: page(built.storeFrame), notify: () => storeEnd.notify() });
const storeEnd = domain.events.bindHost(storePort, () => ring.event());
const output = createConsole({
  page: page(built.consoleFrame),
  notify: () => consoleEnd.notify(),
  onOutput: (bytes) => process.stdout.write(bytes),
});
const consoleEnd = domain.events.bindHost(consolePort, () => output.event());

const [vcpu] = domain.vcpus;
vcpu.startPv({ entry: built.vcpu.rip, stack: built.vcpu.rsp, startInfo: built.vcpu.rsi, root: built.vcpu.cr3 });
domain.unpause();
while (domain.shutdown === undefined) {
  hypervisor.runTimers();
  hypervisor.runListeners();
  // A real VMM sleeps until hypervisor.nextDeadline() when the answer is "blocked".
  hypervisor.runVcpu(vcpu, 1_000_000);
}
console.log(domain.shutdown.reason === 0 ? "powered off" : `reason ${domain.shutdown.reason}`);
