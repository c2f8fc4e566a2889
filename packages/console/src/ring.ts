import { layout } from "@paravirt/xen-abi";
import type { ByteRingPlace } from "@paravirt/xenbus";

const { offsets } = layout("xencons_interface", "x86_64");

/** What the host types, on its way to the guest: 1024 bytes of `struct xencons_interface` (`io/console.h`). */
export const INPUT_RING: ByteRingPlace = {
  data: offsets.in,
  size: 1024,
  consumer: offsets.in_cons,
  producer: offsets.in_prod,
};

/** What the guest prints: 2048 bytes. */
export const OUTPUT_RING: ByteRingPlace = {
  data: offsets.out,
  size: 2048,
  consumer: offsets.out_cons,
  producer: offsets.out_prod,
};
