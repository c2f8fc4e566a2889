// Boots /kernel and /initrd in v86, on the page's thread as v86 does, and reports what the guest writes to its serial line.
import { V86 } from "v86";

window.start = ({ memory, append }) => {
  const machine = new V86({
    wasm_path: "/v86.wasm",
    bios: { url: "/bios" },
    vga_bios: { url: "/vgabios" },
    bzimage: { url: "/kernel" },
    initrd: { url: "/initrd" },
    cmdline: append,
    memory_size: memory * 1024 * 1024,
    autostart: true,
    disable_keyboard: true,
    disable_mouse: true,
  });
  window.send = (text) => machine.serial0_send(text);
  let line = "";
  machine.add_listener("serial0-output-byte", (byte) => {
    line += String.fromCharCode(byte);
    if (byte !== 10) return;
    window.report({ text: line });
    line = "";
  });
};
