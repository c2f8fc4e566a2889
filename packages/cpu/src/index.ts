/**
 * An x86-64 processor in WebAssembly, run the way KVM runs one: {@link Vcpu.run} executes until something outside must act.
 * @packageDocumentation
 */
export { createEngine } from "./engine.ts";
export { implementedFeatures } from "./features.ts";
export {
  type CpuPorts,
  type Engine,
  type EngineOptions,
  type EngineStats,
  EXIT,
  type Exit,
  type ExitReason,
  type Vcpu,
} from "./vcpu.ts";
