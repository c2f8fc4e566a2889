import { connectRelay, createNat, type Relay, type WebSocketLike } from "@paravirt/net";
import { nodeNetworkHost } from "../src/network-host.ts";
import { startTap } from "./tap.ts";

// A network and a guest that know each other through a relay only. Runs by itself, since Node.js 20 has WebSocket behind an
// option. Arguments: the relay's address, a web address as the guest sees it.

const [relayAddress, webAddress] = process.argv.slice(2);
const host = nodeNetworkHost();
const { WebSocket } = globalThis as unknown as { WebSocket: new (address: string) => WebSocketLike };
const relay = (): Promise<Relay> =>
  new Promise((resolve) => {
    const made: Relay = connectRelay({
      connect: () => new WebSocket(relayAddress!),
      after: (milliseconds, work) => host.after(milliseconds, work),
      onState: () => resolve(made),
    });
  });
const nat = createNat({ host, allow: ["*"] });
const uplink = await relay();
nat.port.onPacket((frame) => uplink.send(frame));
uplink.onPacket((frame) => nat.port.send(frame));
const guest = await startTap(await relay(), "10.0.2.15/24", 1500, { takesOffloads: false });
const { output } = await guest.run(`curl -s ${webAddress} | sha256sum`);
process.stdout.write(output);
guest.close();
process.exit(0);
