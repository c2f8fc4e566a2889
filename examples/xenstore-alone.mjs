// A xenstore by itself, without a machine: a toolstack and a guest agree on a network device through it.
import {
  addDevice,
  createXenstore,
  createXenstoreClient,
  localLink,
  parsePermissions,
  populateHost,
} from "@paravirt/xenstore";

const store = createXenstore();
const toolstack = store.local; // domain 0's direct access
populateHost(toolstack);
for (const domid of [1, 2]) {
  toolstack.write(`/local/domain/${domid}/name`, `guest-${domid}`);
  toolstack.setPermissions(`/local/domain/${domid}`, parsePermissions(`n${domid}`));
}
const guest = createXenstoreClient(localLink(store, 1)); // with the rights of domain 1
const stranger = createXenstoreClient(localLink(store, 2));

// A watch fires once when it is set, then at each change at or below its node.
const backend = "/local/domain/0/backend/vif/1/0";
const states = toolstack.watch("/local/domain/1/device/vif/0/state", (path) => {
  console.log(`toolstack: the guest's device is in state ${toolstack.read(path) ?? "(none)"}`);
});
addDevice(toolstack, {
  domid: 1,
  type: "vif",
  id: 0,
  frontend: { mac: "00:16:3e:00:00:01" },
  backend: { bridge: "xenbr0" },
});

console.log("guest: my address is", await guest.read("device/vif/0/mac")); // relative to /local/domain/1
console.log("guest: its backend is", await guest.read("device/vif/0/backend"));

// All of a transaction's changes become visible at once, or it is tried again.
await guest.transaction(async (nodes) => {
  await nodes.write("device/vif/0/tx-ring-ref", "768");
  await nodes.write("device/vif/0/rx-ring-ref", "769");
  await nodes.write("device/vif/0/state", "3");
});
console.log("toolstack: it offers", toolstack.list("/local/domain/1/device/vif/0").join(" "));

const refusal = async (action) =>
  action.then(
    () => "allowed",
    (error) => error.code,
  );
console.log("guest writes to its backend:", await refusal(guest.write(`${backend}/online`, "0")));
console.log("stranger reads the guest's device:", await refusal(stranger.read("/local/domain/1/device/vif/0/mac")));
states();
