import { utf8Encode } from "./text.ts";

/** `start_info` (public/xen.h) of a domU. */
export interface StartInfo {
  readonly magic: string;
  readonly pages: number;
  /** Machine address of the shared info page. */
  readonly sharedInfo: bigint;
  readonly flags: number;
  readonly storeMfn: number;
  readonly storePort: number;
  readonly consoleMfn: number;
  readonly consolePort: number;
  /** Linear address of the top page table, and the number of frames of the first tables. */
  readonly ptBase: bigint;
  readonly ptFrames: number;
  /** Linear address of the list of machine frames. */
  readonly mfnList: bigint;
  readonly moduleStart: bigint;
  readonly moduleLength: number;
  readonly commandLine: string;
  readonly firstP2mPfn: number;
  readonly p2mFrames: number;
}

/** Encodes `start_info` for a 64-bit guest: 1168 bytes. */
export function encodeStartInfo(info: StartInfo): Uint8Array {
  const bytes = new Uint8Array(1168);
  const view = new DataView(bytes.buffer);
  const quad = (at: number, value: number | bigint): void => view.setBigUint64(at, BigInt(value), true);
  bytes.set(utf8Encode(info.magic).subarray(0, 31), 0);
  quad(32, info.pages);
  quad(40, info.sharedInfo);
  view.setUint32(48, info.flags, true);
  quad(56, info.storeMfn);
  view.setUint32(64, info.storePort, true);
  quad(72, info.consoleMfn);
  view.setUint32(80, info.consolePort, true);
  quad(88, info.ptBase);
  quad(96, info.ptFrames);
  quad(104, info.mfnList);
  quad(112, info.moduleStart);
  quad(120, info.moduleLength);
  bytes.set(utf8Encode(info.commandLine).subarray(0, 1023), 128);
  quad(1152, info.firstP2mPfn);
  quad(1160, info.p2mFrames);
  return bytes;
}
