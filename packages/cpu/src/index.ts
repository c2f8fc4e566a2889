/**
 * An x86-64 processor in WebAssembly, run the way KVM runs one: {@link Vcpu.run} executes until something outside must act.
 * @packageDocumentation
 */
export { createEngine } from "./engine.ts";
export { implementedFeatures } from "./features.ts";
export { createStepBench, type StepBench, type StepBenchOptions } from "./single-step/bench.ts";
export {
  RESET_RIP,
  resetCase,
  type StepCase,
  type StepChange,
  type StepException,
  type StepFpu,
  type StepOutcome,
  type StepPage,
} from "./single-step/case.ts";
export {
  type CpuPorts,
  type Engine,
  type EngineOptions,
  type EngineStats,
  EXIT,
  type Exit,
  type ExitReason,
  type GatePlan,
  type GateState,
  type Vcpu,
} from "./vcpu.ts";
