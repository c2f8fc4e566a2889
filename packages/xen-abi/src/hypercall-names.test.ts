import { expect, test } from "vitest";
import {
  errnoName,
  HYPERVISOR,
  hypercallCommandName,
  hypercallHasCommand,
  hypercallName,
  XEN_ERRNO,
  XENMEM,
} from "./index.ts";

test("a hypercall is named as in xen.h", () => {
  expect(hypercallName(1)).toBe("mmu_update");
  expect(hypercallName(29)).toBe("sched_op");
  expect(hypercallName(11)).toBeUndefined();
  expect(hypercallName(-1)).toBeUndefined();
});

test("a command is named where its hypercall takes one in its first argument", () => {
  expect(hypercallCommandName(HYPERVISOR.sched_op, 1)).toBe("block");
  expect(hypercallCommandName(HYPERVISOR.vcpu_op, 3)).toBe("is_up");
  expect(hypercallCommandName(HYPERVISOR.sched_op, 99)).toBeUndefined();
  expect(hypercallCommandName(HYPERVISOR.mmu_update, 1)).toBeUndefined();
  expect(hypercallHasCommand(HYPERVISOR.mmu_update)).toBe(false);
  expect(hypercallHasCommand(HYPERVISOR.event_channel_op)).toBe(true);
});

test("memory_op is named whatever extents are done already", () => {
  expect(hypercallCommandName(HYPERVISOR.memory_op, XENMEM.populate_physmap | (500 << 6))).toBe("populate_physmap");
});

test("an error is named with either sign, by its usual name", () => {
  expect(errnoName(-22)).toBe("EINVAL");
  expect(errnoName(XEN_ERRNO.EWOULDBLOCK)).toBe("EAGAIN");
  expect(errnoName(1000)).toBeUndefined();
});
