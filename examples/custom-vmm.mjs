// A virtual machine monitor of one's own in about forty lines, assembled from single packages: it boots a Xen PV kernel
// (the mini guest, or the file that is named) and shows its console.
import { readFileSync } from "node:fs";
import { buildPvDomain, planPvDomain, readKernelImage } from "@paravirt/boot";
import { createConsole } from "@paravirt/console";
import { createEngine } from "@paravirt/cpu";
import { formatCrash, Hypervisor } from "@paravirt/hypervisor";
import { miniGuest } from "@paravirt/vmm";
import { createXenstore, parsePermissions } from "@paravirt/xenstore";

const image = readKernelImage(process.argv[2] === undefined ? miniGuest() : readFileSync(process.argv[2]));
const plan = planPvDomain(image, { pages: 32 * 256, commandLine: "console=hvc0" });

// The machine: a processor and memory, a clock, and Xen on them.
const hypervisor = new Hypervisor({
  createEngine: (ports) => createEngine({ memoryBytes: 48 * 2 ** 20, ports }),
  clock: { now: process.hrtime.bigint, wallClockBase: BigInt(Date.now()) * 1_000_000n },
});
const { paging, memory } = hypervisor;
const page = (mfn) => memory.bytes.subarray(mfn * 4096, (mfn + 1) * 4096);

// A domain: its memory laid out as the kernel's notes ask, its page tables validated and pinned, a VCPU at its entry.
const domain = hypervisor.createDomain({ name: "own", maxPages: plan.pages });
const [storePort, consolePort] = [0, 0].map((host) => domain.events.allocateUnbound(host));
const { vcpu, storeFrame, consoleFrame } = buildPvDomain(
  plan,
  {
    populate: (pfn) => paging.populatePhysmap(domain.memory, 0, pfn),
    write: (mfn, offset, bytes) => page(mfn).set(bytes, offset),
    writeEntry: (table, index, target, flags) => (memory.quads[table * 512 + index] = BigInt(target * 4096 + flags)),
  },
  { sharedInfo: domain.sharedInfoMfn, storePort, consolePort },
);
if (paging.pin(domain.memory, 4, vcpu.cr3) !== 0) throw new Error("Xen refuses the page tables");
domain.vcpus[0].startPv({ entry: vcpu.rip, stack: vcpu.rsp, startInfo: vcpu.rsi, root: vcpu.cr3 });

// Two backends: each serves a ring in a page of the guest and holds the other end of an event channel.
const store = createXenstore();
store.local.write(`/local/domain/${domain.id}/name`, domain.name);
store.local.write(`/local/domain/${domain.id}/domid`, String(domain.id));
for (const node of ["", "/name", "/domid"])
  store.local.setPermissions(`/local/domain/${domain.id}${node}`, parsePermissions(`n0,r${domain.id}`));
const ring = store.introduce(domain.id, { page: page(storeFrame), notify: () => storeEnd.notify() });
const storeEnd = domain.events.bindHost(storePort, () => ring.event());
const show = (bytes) => process.stdout.write(bytes);
const screen = createConsole({ page: page(consoleFrame), notify: () => consoleEnd.notify(), onOutput: show });
const consoleEnd = domain.events.bindHost(consolePort, () => screen.event());

// The loop: run the guest, let backends answer, fire timers, and sleep when there is nothing to do.
domain.unpause();
while (domain.shutdown === undefined) {
  const stop = hypervisor.runVcpu(domain.vcpus[0], 1_000_000);
  hypervisor.runListeners();
  hypervisor.runTimers();
  if (stop === "blocked") await new Promise((resolve) => setTimeout(resolve, 1));
}
const { reason, crash } = domain.shutdown;
console.log(crash === undefined ? `the guest ended with reason ${reason}` : formatCrash(crash));
