// A virtual machine monitor of one's own, assembled from single packages. It boots a Xen PV kernel and shows its console.
import { buildPvDomain, planPvDomain, readKernelImage } from "@paravirt/boot";
import { createConsole } from "@paravirt/console";
import { createEngine } from "@paravirt/cpu";
import { formatCrash, Hypervisor } from "@paravirt/hypervisor";
import { miniGuest } from "@paravirt/vmm";
import { createXenstore, populateHost } from "@paravirt/xenstore";

const PAGES = 8 * 256;
const kernel = process.argv[2] === undefined ? miniGuest() : await import("node:fs").then((fs) => fs.readFileSync(process.argv[2]));

// The machine: processors and memory, Xen on them, a clock.
const hypervisor = new Hypervisor({
  createEngine: (ports) => createEngine({ memoryBytes: 32 * 2 ** 20, ports }),
  clock: { now: process.hrtime.bigint, wallClockBase: BigInt(Date.now()) * 1_000_000n },
});
const { paging, memory } = hypervisor;
const page = (mfn) => memory.bytes.subarray(mfn * 4096, (mfn + 1) * 4096);

// A domain: its memory as the kernel's notes want it, its page tables checked and pinned, its first VCPU at the entry.
const domain = hypervisor.createDomain({ name: "own", maxPages: PAGES });
const storePort = domain.events.allocateUnbound(0);
const consolePort = domain.events.allocateUnbound(0);
const built = buildPvDomain(
  planPvDomain(readKernelImage(kernel), { pages: PAGES, commandLine: "console=hvc0" }),
  {
    populate: (pfn) => paging.populatePhysmap(domain.memory, 0, pfn),
    write: (mfn, offset, bytes) => memory.bytes.set(bytes, mfn * 4096 + offset),
    writeEntry: (table, index, target, flags) => (memory.quads[table * 512 + index] = BigInt(target * 4096 + flags)),
  },
  { sharedInfo: domain.sharedInfoMfn, storePort, consolePort },
);
if (paging.pin(domain.memory, 4, built.vcpu.cr3) !== 0) throw new Error("the page tables are not valid");
domain.vcpus[0].startPv({ entry: built.vcpu.rip, stack: built.vcpu.rsp, startInfo: built.vcpu.rsi, root: built.vcpu.cr3 });

// Its two backends, each on a ring in the guest's memory and an event channel.
const store = createXenstore();
populateHost(store.local);
store.local.write(`/local/domain/${domain.id}/name`, "own");
store.local.write(`/local/domain/${domain.id}/domid`, String(domain.id));
store.local.setPermissions(`/local/domain/${domain.id}`, [{ domid: domain.id, access: "none" }]);
const storeRing = store.introduce(domain.id, { page: page(built.storeFrame), notify: () => storeChannel.notify() });
const storeChannel = domain.events.bindHost(storePort, () => storeRing.event());
const output = (bytes) => process.stdout.write(bytes);
const screen = createConsole({ page: page(built.consoleFrame), notify: () => consoleChannel.notify(), onOutput: output });
const consoleChannel = domain.events.bindHost(consolePort, () => screen.event());

// The machine loop: run, let backends answer, fire timers, sleep when there is nothing to do.
domain.unpause();
while (domain.shutdown === undefined) {
  const stopped = hypervisor.runVcpu(domain.vcpus[0], 1_000_000);
  hypervisor.runListeners();
  hypervisor.runTimers();
  if (stopped === "blocked") await new Promise((resolve) => setTimeout(resolve, 1));
}
console.log(domain.shutdown.crash ? formatCrash(domain.shutdown.crash) : `shut down, reason ${domain.shutdown.reason}`);
