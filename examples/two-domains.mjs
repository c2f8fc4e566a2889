// Two domains at once: one crashes, the other is unharmed. Run: node examples/two-domains.mjs
import { createMachine, miniGuest } from "@paravirt/vmm";

const machine = createMachine({ memory: 64 });
const bad = await machine.createDomain({ kernel: miniGuest({ ending: "crash" }), memory: 16, name: "bad" });
const good = await machine.createDomain({ kernel: miniGuest(), memory: 16, name: "good" });
const text = new Response(good.console.readable).text();
// A console that nobody reads would fill up; cancelling says that nobody will.
await bad.console.readable.cancel();

const crash = await bad.shutdown;
console.log(`bad: ${crash.reason}, ${crash.crash.reason}`);
console.log(`good: ${(await good.shutdown).reason}`);
console.log(await text);
machine.close();
