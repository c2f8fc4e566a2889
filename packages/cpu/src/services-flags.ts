import type { Engine } from "./engine.ts";
import { SERVICE_RESULT, type Service } from "./service.ts";

const RESUME_FLAG = 0x10000n;

/** POPF that sets TF or AC: the engine looks at the flags when an instruction was executed here. It clears RF. */
function popf(size: 2 | 4 | 8): Service {
  return (engine: Engine) => {
    const value = engine.peek(0, size);
    if (value === undefined) return SERVICE_RESULT.FAULT;
    engine.setFlagsAtUserLevel(value & ~RESUME_FLAG, size);
    engine.dropStack(size);
    return SERVICE_RESULT.NEXT;
  };
}

/** By the name of the definition. */
export const FLAG_SERVICES: Readonly<Record<string, Service>> = {
  "popf.2": popf(2),
  "popf.4": popf(4),
  "popf.8": popf(8),
};
