// Frames for tests: built and checked from the RFCs, not with the code under test.

export interface TestSegment {
  readonly ipv6?: boolean;
  readonly vlan?: boolean;
  readonly protocol?: "tcp" | "udp";
  readonly payload: Uint8Array;
  /** Bytes of TCP options, a multiple of 4. */
  readonly options?: number;
  readonly flags?: number;
  readonly sequence?: number;
  readonly identification?: number;
  /** Whether the checksum is left to others. */
  readonly partial?: boolean;
  readonly destination?: readonly number[];
}

/** The one's complement sum of all words, bit by bit as RFC 1071 says it. */
export function slowSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

/** An Ethernet frame with a TCP segment or UDP datagram. */
export function testSegment(segment: TestSegment): Uint8Array {
  const { ipv6 = false, vlan = false, protocol = "tcp", payload, options = 0 } = segment;
  const header = protocol === "tcp" ? 20 + options : 8;
  const network = vlan ? 18 : 14;
  const transport = network + (ipv6 ? 40 : 20);
  const frame = new Uint8Array(transport + header + payload.length);
  const view = new DataView(frame.buffer);
  frame.set(segment.destination ?? [0x02, 0, 0, 0, 0, 1]);
  frame.set([0x02, 0, 0, 0, 0, 2], 6);
  view.setUint16(12, vlan ? 0x8100 : ipv6 ? 0x86dd : 0x0800);
  if (vlan) view.setUint32(14, ipv6 ? 0x000586dd : 0x00050800);
  const length = header + payload.length;
  const number = protocol === "tcp" ? 6 : 17;
  if (ipv6) {
    view.setUint32(network, 0x60000000);
    view.setUint16(network + 4, length);
    frame[network + 6] = number;
    frame[network + 7] = 64;
    frame.set([0xfd, 1, 2, 3], network + 8);
    frame.set([0xfd, 4, 5, 6], network + 24);
  } else {
    view.setUint16(network, 0x4500);
    view.setUint16(network + 2, 20 + length);
    view.setUint16(network + 4, segment.identification ?? 0x1234);
    view.setUint16(network + 6, 0x4000);
    frame[network + 8] = 64;
    frame[network + 9] = number;
    frame.set([10, 0, 2, 15], network + 12);
    frame.set([192, 168, 7, 9], network + 16);
    view.setUint16(network + 10, ~slowSum(frame.subarray(network, transport)) & 0xffff);
  }
  view.setUint16(transport, 4321);
  view.setUint16(transport + 2, 80);
  if (protocol === "tcp") {
    view.setUint32(transport + 4, segment.sequence ?? 1000);
    view.setUint32(transport + 8, 77);
    frame[transport + 12] = (header / 4) << 4;
    frame[transport + 13] = segment.flags ?? 0x10;
    view.setUint16(transport + 14, 0xfaf0);
    frame.fill(1, transport + 20, transport + header);
  } else view.setUint16(transport + 4, length);
  frame.set(payload, transport + header);
  const at = transport + (protocol === "tcp" ? 16 : 6);
  const pseudo = slowSum(pseudoHeader(frame, network, ipv6, number, length));
  if (segment.partial === true) view.setUint16(at, pseudo);
  else {
    const sum = ~fold(pseudo + slowSum(frame.subarray(transport))) & 0xffff;
    view.setUint16(at, sum === 0 && protocol === "udp" ? 0xffff : sum);
  }
  return frame;
}

function fold(sum: number): number {
  return sum > 0xffff ? sum - 0xffff : sum;
}

function pseudoHeader(frame: Uint8Array, network: number, ipv6: boolean, protocol: number, length: number): Uint8Array {
  const [from, to] = ipv6 ? [network + 8, network + 40] : [network + 12, network + 20];
  const header = new Uint8Array(to - from + 8);
  header.set(frame.subarray(from, to));
  new DataView(header.buffer).setUint32(to - from, length);
  header[header.length - 1] = protocol;
  return header;
}

/** What a finished frame says, after its checksums were found right; throws where one is wrong. */
export function readSegment(frame: Uint8Array) {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const vlan = view.getUint16(12) === 0x8100;
  const network = vlan ? 18 : 14;
  const ipv6 = view.getUint16(network - 2) === 0x86dd;
  const transport = network + (ipv6 ? 40 : 20);
  const length = ipv6 ? view.getUint16(network + 4) : view.getUint16(network + 2) - 20;
  if (transport + length !== frame.length) throw new Error(`the IP header says ${length} bytes`);
  if (!ipv6 && slowSum(frame.subarray(network, transport)) !== 0xffff) throw new Error("wrong IP header checksum");
  const protocol = ipv6 ? frame[network + 6]! : frame[network + 9]!;
  const pseudo = slowSum(pseudoHeader(frame, network, ipv6, protocol, length));
  if (fold(pseudo + slowSum(frame.subarray(transport))) !== 0xffff) throw new Error("wrong transport checksum");
  const header = protocol === 6 ? (frame[transport + 12]! >> 4) * 4 : 8;
  return {
    vlan,
    ipv6,
    protocol,
    identification: ipv6 ? undefined : view.getUint16(network + 4),
    sequence: protocol === 6 ? view.getUint32(transport + 4) : undefined,
    flags: protocol === 6 ? frame[transport + 13]! : undefined,
    payload: frame.slice(transport + header),
  };
}
