// In a web worker: boots /kernel with or without /initrd in paravirt and posts what the guest's console says, as text.
import { createMachine } from "@paravirt/vmm";

async function bytesOf(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

let writer;

self.onmessage = async ({ data: { input, memory, append, initrd } }) => {
  try {
    if (input !== undefined) return await writer.write(new TextEncoder().encode(input));
    const kernel = await bytesOf("/kernel");
    const ramdisk = initrd ? { initrd: await bytesOf("/initrd") } : {};
    // Room for the hypervisor's own frames.
    const machine = createMachine({ memory: memory + 16 });
    const domain = await machine.createDomain({ kernel, ...ramdisk, memory, commandLine: append });
    writer = domain.console.writable.getWriter();
    const decoder = new TextDecoder();
    for await (const bytes of domain.console.readable)
      self.postMessage({ text: decoder.decode(bytes, { stream: true }) });
    self.postMessage({ ended: `the guest ended: ${(await domain.shutdown).reason}` });
  } catch (error) {
    self.postMessage({ ended: String(error.stack ?? error) });
  }
};
