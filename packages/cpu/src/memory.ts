/// <reference path="./webassembly.d.ts" />
import { type MachineMemory, ParavirtError } from "@paravirt/core";
import { type EngineLayout, engineLayout, FRAME } from "./layout.ts";

const MAX_FRAMES = 1 << 20; // 4 GiB: the reach of 32-bit WebAssembly memory

/** Allocates a machine's memory, the engine's own part included, and its frame table. */
export function createMemory(domainBytes: number): {
  memory: MachineMemory;
  layout: EngineLayout;
  wasm: WebAssembly.Memory;
} {
  if (!(domainBytes > 0))
    throw new ParavirtError("OUT_OF_RANGE", `${domainBytes} bytes of domain memory: at least one page is needed`);
  const layout = engineLayout(domainBytes);
  if (layout.frames >= MAX_FRAMES)
    throw new ParavirtError(
      "OUT_OF_RANGE",
      `${domainBytes} bytes of domain memory and the engine's own exceed the 4 GiB of 32-bit WebAssembly memory`,
    );
  const pages = Math.ceil((layout.frames * 4096) / 65536);
  const wasm = allocate(pages, domainBytes);
  const { buffer } = wasm;
  const memory: MachineMemory = {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Uint32Array(buffer),
    quads: new BigUint64Array(buffer),
    frames: layout.frames,
    firstFrame: layout.firstFrame,
  };
  memory.words.fill(FRAME.nobody, layout.frameTable / 4, layout.frameTable / 4 + layout.frames);
  return { memory, layout, wasm };
}

function allocate(pages: number, domainBytes: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages });
  } catch (cause) {
    throw new ParavirtError(
      "OUT_OF_MEMORY",
      `the host can't give ${domainBytes} bytes of domain memory and the engine's ${pages * 65536 - domainBytes}`,
      { cause },
    );
  }
}
