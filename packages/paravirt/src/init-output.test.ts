import { expect, test } from "vitest";
import { createInitWatch } from "./init-output.ts";

const text = (line: string): Uint8Array => new TextEncoder().encode(line);

test("the kernel's log is not /init's output, however it is cut", () => {
  const watch = createInitWatch();
  const log =
    "(early) [    0.000000] Linux version 6.1\r\n(early) Poking(early)  KASLR\r\n[    1.234567] Run /init as init process\r\n\r\n[12345.000000] x\n";
  for (const byte of text(log)) expect(watch(Uint8Array.of(byte))).toBe(false);
  expect(watch(text("[    2.0"))).toBe(false);
  expect(watch(text("00000] a [word] in a message\nB"))).toBe(true);
});

test.each([
  ["hello"],
  ["(east) of here"],
  ["[ ok ] started\n"],
  ["[this is a line that begins with a bracket"],
  ["\n\u001b[6n"],
])("%j is output of a program", (output) => {
  expect(createInitWatch()(text(output))).toBe(true);
});
