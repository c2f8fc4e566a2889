import { planPvDomain, readKernelImage } from "@paravirt/boot";
import { expect, test } from "vitest";
import { instructionClock } from "../clock.ts";
import { createMachine } from "../machine.ts";
import { type MiniGuestOptions, miniGuest } from "./mini-guest.ts";

const TEXT = `mini guest: hello from ring 3 of xen-3.0-x86_64
frame list: good
name = tiny
domid = 1
timer: event
`;

async function boot(options: MiniGuestOptions) {
  using machine = createMachine({ memory: 32, clock: instructionClock() });
  const domain = await machine.createDomain({ kernel: miniGuest(options), memory: 8, name: "tiny" });
  const text = new Response(domain.console.readable).text();
  return { shutdown: await domain.shutdown, text: await text, hypercalls: machine.statistics().hypercalls[domain.id]! };
}

const flags = [true, false];
const variants = flags.flatMap((hypercallPage) =>
  flags.flatMap((virtBase) => flags.map((initP2m) => ({ hypercallPage, virtBase, initP2m }))),
);

test.each(variants)("boots, reads xenstore, takes a timer event and powers off: %o", async (variant) => {
  const { shutdown, text, hypercalls } = await boot(variant);
  expect(text).toBe(TEXT);
  expect(shutdown).toEqual({ reason: "poweroff", code: 0 });
  expect(hypercalls).toMatchObject({
    callback_op: { operations: { register: 1 } },
    event_channel_op: { operations: { bind_virq: 1 } },
  });
});

test("the notes are those that were asked for", () => {
  const plan = (options: MiniGuestOptions) => planPvDomain(readKernelImage(miniGuest(options)), { pages: 2048 });
  expect(plan({})).toMatchObject({ virtBase: 0xffffffff80000000n, p2mApart: false });
  expect(plan({}).hypercallPage).toBeGreaterThan(256);
  expect(plan({ hypercallPage: false }).hypercallPage).toBeUndefined();
  expect(plan({ virtBase: false }).virtBase).toBe(0n);
  expect(plan({ initP2m: true })).toMatchObject({ p2mApart: true, p2mAddress: 0x8000000000n });
});

test("ends as told", async () => {
  expect((await boot({ ending: "reboot" })).shutdown.reason).toBe("reboot");
  const { shutdown } = await boot({ ending: "crash" });
  expect(shutdown.reason).toBe("crash");
  expect(shutdown.crash!.reason).toContain("trap 6");
});
