// A xenstore by itself, without a machine: nodes and a watch. Run: node examples/xenstore.mjs
import { createXenstore } from "@paravirt/xenstore";

const store = createXenstore().local;
const stop = store.watch("/local/domain/7", (path) => console.log("changed:", path));
await new Promise((resolve) => setTimeout(resolve));

store.write("/local/domain/7/name", "web");
store.write("/local/domain/7/memory/target", "65536");
await new Promise((resolve) => setTimeout(resolve));
stop();

console.log(store.read("/local/domain/7/name"));
console.log(store.list("/local/domain/7"));
store.remove("/local/domain/7/memory");
console.log(store.read("/local/domain/7/memory/target"));
