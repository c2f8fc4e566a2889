// The functions are compared with the macros of Debian's io/ring.h, compiled by gcc.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  byteRingFilled,
  layout,
  ringDistance,
  ringEventIndex,
  ringFreeRequests,
  ringPushNotifies,
  ringRequestConsumerOverflow,
  ringRequestProducerOverflow,
  ringResponseProducerOverflow,
  ringSize,
  ringSlotOffset,
  ringUnconsumedRequests,
  ringUnconsumedResponses,
} from "./index.ts";

const PROGRAM = `
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <xen/xen-compat.h>
#define __XEN_INTERFACE_VERSION__ __XEN_LATEST_INTERFACE_VERSION__
#include <xen/xen.h>
#define xen_wmb()
#define xen_mb()
#include <xen/io/blkif.h>
static union { blkif_sring_t s; char page[65536]; } memory;
int main(void) {
  unsigned bytes, a, b, c, d, e;
  while (scanf("%u %u %u %u %u %u", &bytes, &a, &b, &c, &d, &e) == 6) {
    blkif_front_ring_t f; blkif_back_ring_t k; int n1, n2;
    SHARED_RING_INIT(&memory.s);
    FRONT_RING_INIT(&f, &memory.s, bytes);
    BACK_RING_INIT(&k, &memory.s, bytes);
    f.req_prod_pvt = a; f.rsp_cons = b; k.rsp_prod_pvt = c; k.req_cons = d;
    memory.s.req_prod = e; memory.s.rsp_prod = e;
    printf("%u %u %u %u %d %d %d %lu",
      RING_SIZE(&k), RING_FREE_REQUESTS(&f), XEN_RING_NR_UNCONSUMED_RESPONSES(&f), XEN_RING_NR_UNCONSUMED_REQUESTS(&k),
      RING_REQUEST_CONS_OVERFLOW(&k, d), RING_REQUEST_PROD_OVERFLOW(&k, e), RING_RESPONSE_PROD_OVERFLOW(&f, e),
      (unsigned long)((char *)RING_GET_REQUEST(&k, d) - memory.page));
    memory.s.req_event = b;
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&f, n1);
    memory.s.req_prod = e; memory.s.rsp_event = b;
    RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&k, n2);
    k.req_cons = e; memory.s.req_prod = e; k.rsp_prod_pvt = e;
    int w; RING_FINAL_CHECK_FOR_REQUESTS(&k, w);
    printf(" %d %d %u\\n", n1, n2, memory.s.req_event);
  }
  return 0;
}
`;

const SLOT = layout("blkif_sring_entry", "x86_64").size;

describe("ring arithmetic", () => {
  test("is that of io/ring.h for any indices, wrapped ones too", () => {
    const folder = mkdtempSync(join(tmpdir(), "ring-"));
    try {
      const source = join(folder, "ring.c");
      const program = join(folder, "ring");
      writeFileSync(source, PROGRAM);
      execFileSync("gcc", ["-w", "-O1", source, "-o", program], { stdio: "pipe" });
      const index = fc.oneof(
        fc.integer({ min: 0, max: 0xffffffff }),
        fc.integer({ min: 0, max: 80 }),
        fc.integer({ min: 0xffffffc0, max: 0xffffffff }),
      );
      const cases = fc.sample(fc.tuple(fc.constantFrom(4096, 8192, 65536), index, index, index, index, index), {
        numRuns: 2000,
        seed: 17,
      });
      const text = execFileSync(program, { input: cases.map((row) => row.join(" ")).join("\n"), encoding: "utf8" });
      const theirs = text.trim().split("\n");
      expect(theirs.length).toBe(cases.length);
      cases.forEach(([bytes, a, b, c, d, e], row) => {
        const size = ringSize(bytes, SLOT);
        const ours = [
          size,
          ringFreeRequests(size, a, b) >>> 0,
          ringUnconsumedResponses(e, b),
          ringUnconsumedRequests(size, e, d, c),
          Number(ringRequestConsumerOverflow(size, d, c)),
          Number(ringRequestProducerOverflow(size, e, c)),
          Number(ringResponseProducerOverflow(size, e, b)),
          ringSlotOffset(d, size, SLOT),
          Number(ringPushNotifies(e, a, b)),
          Number(ringPushNotifies(e, c, b)),
          ringEventIndex(e),
        ];
        expect(ours.join(" ")).toBe(theirs[row]);
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("one page holds 32 block requests, and none fits where there is no room", () => {
    expect(ringSize(4096, SLOT)).toBe(32);
    expect(ringSize(64, SLOT)).toBe(0);
  });

  test("a back end never takes more requests than it has room to answer", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 0, max: 32 }), fc.integer(), (start, used, producer) => {
        const responses = start >>> 0;
        const consumer = (responses + used) >>> 0;
        expect(ringUnconsumedRequests(32, producer >>> 0, consumer, responses)).toBeLessThanOrEqual(32 - used);
      }),
    );
  });

  test("a byte ring whose indices are further apart than it is long is refused", () => {
    expect(byteRingFilled(1024, 3, 0xffffffff)).toBe(4);
    expect(byteRingFilled(1024, 1024, 0)).toBe(1024);
    expect(byteRingFilled(1024, 1025, 0)).toBeUndefined();
    expect(ringDistance(0xffffffff, 0)).toBe(1);
  });
});
