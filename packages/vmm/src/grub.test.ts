import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createMachine } from "./machine.ts";

test("GRUB's Xen image comes to its prompt and answers a typed command", async () => {
  const folder = mkdtempSync(join(tmpdir(), "paravirt-grub-"));
  const image = join(folder, "grub.xen");
  const modules = ["normal", "echo", "ls", "help", "reboot"];
  execFileSync("grub-mkimage", ["-O", "x86_64-xen", "-o", image, "-p", "/", ...modules]);
  const kernel = readFileSync(image);
  rmSync(folder, { recursive: true });
  const machine = createMachine({ memory: 160 });
  const domain = await machine.createDomain({ kernel, memory: 128 });
  const reader = domain.console.readable
    .pipeThrough(new TextDecoderStream() as never)
    .getReader() as ReadableStreamDefaultReader<string>;
  let text = "";
  const untilText = async (wanted: RegExp) => {
    while (!wanted.test(text)) {
      const { value } = await reader.read();
      if (value === undefined) throw new Error(`the console ended before ${wanted}: ${text}`);
      text += value;
    }
  };
  await untilText(/grub>/);
  const writer = domain.console.writable.getWriter();
  await writer.write(new TextEncoder().encode("echo hel''lo\r"));
  await untilText(/hello/);
  await writer.write(new TextEncoder().encode("reboot\r"));
  expect((await domain.shutdown).reason).toBe("reboot");
  machine.close();
}, 30_000);
