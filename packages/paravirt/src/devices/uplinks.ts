import type { PacketPort } from "@paravirt/core";
import { isParavirtError } from "@paravirt/core";
import { connectUnixStream, listenUnixStream, nodeNetworkHost } from "@paravirt/host-node";
import { createHub, createNat, streamPort } from "@paravirt/net";
import type { NetworkSpec, PublishSpec } from "./network-spec.ts";

/** What a card is plugged into, and its end. */
export interface Uplink {
  readonly port: PacketPort;
  close(): void;
}

/** Opens what `--net` names. Fails with what the user is told in one line. */
export async function openUplink(spec: NetworkSpec, published: readonly PublishSpec[]): Promise<Uplink> {
  if (spec.kind === "user") return openUserNetwork(spec, published);
  return spec.kind === "passt" ? openSocket(spec.socket!) : openHub(spec.socket!);
}

async function openUserNetwork({ allow, mtu }: NetworkSpec, published: readonly PublishSpec[]): Promise<Uplink> {
  const nat = createNat({ host: nodeNetworkHost(), allow, ...(mtu === undefined ? {} : { mtu }) });
  try {
    for (const { address, hostPort, guestPort, protocol } of published)
      await nat.publish({ port: hostPort, guestPort, protocol, ...(address === undefined ? {} : { address }) });
  } catch (error) {
    nat.close();
    throw error;
  }
  return { port: nat.port, close: () => nat.close() };
}

/** The other end of a unix socket is a network: passt, or a hub of another process. */
async function openSocket(path: string): Promise<Uplink> {
  const port = streamPort(await connectUnixStream(path), {
    onClose: (error) =>
      process.stderr.write(
        `paravirt: the network at ${path} has ended${error === undefined ? "" : `: ${error.message}`}\n`,
      ),
  });
  return { port, close: () => port.close() };
}

/** The process that comes first is the hub for those that come later. */
async function openHub(path: string): Promise<Uplink> {
  const hub = createHub();
  const ports = new Set<{ close(): void }>();
  try {
    const listener = await listenUnixStream(path, (stream) => {
      const port = streamPort(stream, {
        onClose: () => {
          ports.delete(port);
          joined.close();
        },
      });
      const joined = hub.join(port);
      ports.add(port);
    });
    return {
      port: hub.addPort(),
      close() {
        listener.close();
        for (const port of ports) port.close();
      },
    };
  } catch (error) {
    if (isParavirtError(error) && error.code === "BUSY") return openSocket(path);
    throw error;
  }
}
