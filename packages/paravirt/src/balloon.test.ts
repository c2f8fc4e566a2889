import { commandArchive, createCommandDecoder, guestCommandLine, joinArchives } from "@paravirt/boot";
import { debianGuest } from "@paravirt/host-node";
import { createMachine, type MachineDomain } from "@paravirt/vmm";
import { expect, test } from "vitest";

const until = async (holds: () => boolean, what: string): Promise<void> => {
  for (let turn = 0; !holds(); turn++) {
    if (turn > 600) throw new Error(`not within a minute: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};
/** Hears what a guest's command says. */
async function hear(domain: MachineDomain, onText: (text: string) => void): Promise<void> {
  const decoder = createCommandDecoder({ onStdout: (bytes) => onText(new TextDecoder().decode(bytes)) });
  for await (const bytes of domain.console.readable) decoder.push(bytes);
}

test("Linux's balloon driver follows the target down and up, and what it gives up is another domain's", async () => {
  const guest = await debianGuest();
  const machine = createMachine({ memory: 560 });
  try {
    const create = (memory: number, maxMemory: number, script: string): Promise<MachineDomain> =>
      machine.createDomain({
        kernel: guest.image,
        memory,
        maxMemory,
        initrd: joinArchives([guest.initramfs, commandArchive(["sh", "-c", script])]),
        commandLine: guestCommandLine({ mode: "command" }),
      });
    let total = 0;
    const meminfo = "while read -r name size unit; do case $name in MemTotal:) echo $size ;; esac; done </proc/meminfo";
    // It has used all of its memory before it gives any of it up.
    const first = await create(
      320,
      420,
      `head -c 120m /dev/zero >/big; rm /big; while :; do ${meminfo}; sleep 0.3; done`,
    );
    void hear(first, (text) => {
      total = Number(text.trim().split("\n").at(-1));
    });
    await until(() => total > 100_000, "the first guest has used its memory");
    expect(first.memory).toBe(320);
    const before = machine.freeMemory;
    const atStart = total;

    first.setMemoryTarget(200);
    await until(() => first.memory <= 200 && total < atStart - 115_000, "the target of 200 MiB");
    expect(machine.freeMemory - before).toBe(120);

    // More than was free before: a part of it was the first guest's.
    const size = Math.floor(before) + 60;
    const second = await create(size, size, "echo ok; sleep 60");
    let said = "";
    void hear(second, (text) => {
      said += text;
    });
    await until(() => said.includes("ok"), "the second guest");
    second.destroy();
    await second.shutdown;

    // Up again, beyond what it began with.
    first.setMemoryTarget(400);
    await until(() => first.memory >= 399 && total > atStart + 70_000, "the target of 400 MiB");
    expect(() => first.setMemoryTarget(421)).toThrow("421 MiB; this domain can have 1 to 420");
    expect(() => first.setMemoryTarget(0)).toThrow("a target of 0 MiB");
    expect(machine.xenstore.read(`/local/domain/${first.id}/memory/target`)).toBe(String(400 * 1024));
  } finally {
    machine.close();
  }
}, 120_000);
