import { layout, type StructValue } from "@paravirt/xen-abi";

/** `start_info` (public/xen.h) of a 64-bit domU, by its C names. */
export interface DomuStartInfo extends Omit<StructValue<"start_info">, "console"> {
  /** The console's ring: `domU` is the half of the union that counts. */
  readonly console: Pick<StructValue<"start_info">["console"], "domU">;
}

/** Encodes `start_info` for a 64-bit guest. Throws `BAD_ARGUMENT` for a field that does not fit. */
export function encodeStartInfo(info: DomuStartInfo): Uint8Array {
  const start = layout("start_info", "x86_64");
  const bytes = new Uint8Array(start.size);
  start.write(new DataView(bytes.buffer), 0, info);
  return bytes;
}
