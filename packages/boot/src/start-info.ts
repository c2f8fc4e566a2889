import { layout, type StructValue } from "@paravirt/xen-abi";

type Whole = StructValue<"start_info">;

/** `start_info` (public/xen.h) of a 64-bit domU, by its C names. */
export type DomuStartInfo = Omit<Whole, "console"> & { readonly console: Pick<Whole["console"], "domU"> };

/** Encodes `start_info` for a 64-bit guest. Throws `BAD_ARGUMENT` for a field that does not fit. */
export function encodeStartInfo(info: DomuStartInfo): Uint8Array {
  const start = layout("start_info", "x86_64");
  const bytes = new Uint8Array(start.size);
  start.write(new DataView(bytes.buffer), 0, info);
  return bytes;
}
