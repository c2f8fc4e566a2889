/**
 * Index arithmetic of shared rings: the `RING_*` macros of `io/ring.h` as functions of 32-bit indices.
 *
 * Indices run freely and wrap at 2^32; a slot's place in the ring is its index modulo the ring's size.
 * A function that touches the ring's shared indices is handed them by value: the caller reads each shared
 * index once and uses only that copy.
 */

/** Bytes before a ring's first slot: the shared indices and their padding (`DEFINE_RING_TYPES` of `io/ring.h`). */
export const RING_HEADER_SIZE = 64;

/** The distance from `from` up to `to`, both 32-bit ring indices, as an unsigned 32-bit number. */
export function ringDistance(from: number, to: number): number {
  return (to - from) >>> 0;
}

/** Slots of a ring in `bytes` of memory: the largest power of two that fits (`__RING_SIZE`). 0 when not one fits. */
export function ringSize(bytes: number, slotSize: number): number {
  const slots = Math.floor((bytes - RING_HEADER_SIZE) / slotSize);
  return slots < 1 ? 0 : 2 ** Math.floor(Math.log2(slots));
}

/** Byte offset of slot `index` in a ring of `size` slots, from the ring's first byte (`RING_GET_REQUEST`). */
export function ringSlotOffset(index: number, size: number, slotSize: number): number {
  return RING_HEADER_SIZE + ((index & (size - 1)) >>> 0) * slotSize;
}

/** Requests that a front end can still put on its ring (`RING_FREE_REQUESTS`). */
export function ringFreeRequests(size: number, requestProducerPrivate: number, responseConsumer: number): number {
  return size - ringDistance(responseConsumer, requestProducerPrivate);
}

/** Responses that a front end has not taken yet (`XEN_RING_NR_UNCONSUMED_RESPONSES`). */
export function ringUnconsumedResponses(responseProducer: number, responseConsumer: number): number {
  return ringDistance(responseConsumer, responseProducer);
}

/**
 * Requests that a back end may take now (`XEN_RING_NR_UNCONSUMED_REQUESTS`): never more than the ring has room for
 * responses to, whatever the guest wrote as its producer index.
 */
export function ringUnconsumedRequests(
  size: number,
  requestProducer: number,
  requestConsumer: number,
  responseProducerPrivate: number,
): number {
  const waiting = ringDistance(requestConsumer, requestProducer);
  const room = (size - ringDistance(responseProducerPrivate, requestConsumer)) >>> 0;
  return Math.min(waiting, room);
}

/** Tells whether taking one more request would leave no room for its response (`RING_REQUEST_CONS_OVERFLOW`). */
export function ringRequestConsumerOverflow(
  size: number,
  requestConsumer: number,
  responseProducerPrivate: number,
): boolean {
  return ringDistance(responseProducerPrivate, requestConsumer) >= size;
}

/** Tells whether a guest's producer index claims more requests than the ring holds: it is broken or hostile (`RING_REQUEST_PROD_OVERFLOW`). */
export function ringRequestProducerOverflow(
  size: number,
  requestProducer: number,
  responseProducerPrivate: number,
): boolean {
  return ringDistance(responseProducerPrivate, requestProducer) > size;
}

/** Tells whether a back end's producer index claims more responses than the ring holds (`RING_RESPONSE_PROD_OVERFLOW`). */
export function ringResponseProducerOverflow(
  size: number,
  responseProducer: number,
  responseConsumer: number,
): boolean {
  return ringDistance(responseConsumer, responseProducer) > size;
}

/**
 * Tells whether publishing a producer index that moves from `before` to `after` must notify the other end, whose event
 * index is `event` (the second half of `RING_PUSH_*_AND_CHECK_NOTIFY`; read `event` after publishing).
 */
export function ringPushNotifies(before: number, after: number, event: number): boolean {
  return ringDistance(event, after) < ringDistance(before, after);
}

/**
 * The event index to publish before sleeping: one past what was consumed, so that the next entry notifies
 * (the middle of `RING_FINAL_CHECK_FOR_*`; look for work once more after publishing it).
 */
export function ringEventIndex(consumer: number): number {
  return (consumer + 1) >>> 0;
}

/**
 * Bytes that can be read from a byte ring, as of the console and xenstore; `undefined` when the two indices are more
 * than `size` apart, which only a broken or hostile peer writes.
 */
export function byteRingFilled(size: number, producer: number, consumer: number): number | undefined {
  const filled = ringDistance(consumer, producer);
  return filled > size ? undefined : filled;
}
