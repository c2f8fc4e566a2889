/**
 * The xenbus device state machine and Xen's shared rings, both ends.
 * @packageDocumentation
 */
export {
  type ByteRingPlace,
  type ByteRingReader,
  type ByteRingWriter,
  createByteRingReader,
  createByteRingWriter,
  type RingPort,
} from "@paravirt/xenstore";
