// Two domains at once on one machine: one of them crashes, the other never notices.
import { createMachine, miniGuest } from "@paravirt/vmm";

const machine = createMachine({ memory: 32 });
const start = (name, ending) => machine.createDomain({ name, memory: 8, kernel: miniGuest({ ending }) });
const domains = [await start("reckless", "crash"), await start("steady", "poweroff")];
console.log(`${machine.domains.length} domains run`);

for (const domain of domains) {
  const text = await new Response(domain.console.readable).text();
  const { reason, crash } = await domain.shutdown;
  console.log(`--- ${domain.name}: ${reason}${crash ? `, ${crash.reason}` : ""}`);
  console.log(text.trimEnd());
}
console.log(`--- ${machine.domains.length} domains run`);
machine.close();
