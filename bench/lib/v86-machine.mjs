// v86 as a process of its own: `node v86-machine.mjs SETTINGS`, a JSON object of paths. The guest's serial line goes to
// standard output, line by line and at once; standard input goes to the guest.
import { readFileSync, writeSync } from "node:fs";
import { V86 } from "v86";

const settings = JSON.parse(process.argv[2]);
const image = (path) => {
  const bytes = readFileSync(path);
  return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) };
};

const machine = new V86({
  wasm_path: new URL("v86.wasm", import.meta.resolve("v86")).pathname,
  bios: image(settings.bios),
  vga_bios: image(settings.vgaBios),
  bzimage: image(settings.kernel),
  initrd: image(settings.initrd),
  cmdline: settings.append,
  memory_size: settings.memory * 1024 * 1024,
  autostart: true,
  disable_keyboard: true,
  disable_mouse: true,
});

let line = [];
machine.add_listener("serial0-output-byte", (byte) => {
  line.push(byte);
  if (byte !== 10) return;
  writeSync(1, Uint8Array.from(line));
  line = [];
});
process.stdin.setEncoding("latin1").on("data", (text) => machine.serial0_send(text));
