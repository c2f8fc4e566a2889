/**
 * An x86-64 processor in WebAssembly, run the way KVM runs one: {@link Vcpu.run} executes until something outside must act.
 * @packageDocumentation
 */
export {
  type BareAction,
  type BareFault,
  type BareFaultStop,
  type BareInterruptStop,
  type BareMachine,
  type BareMachineOptions,
  type BarePlainStop,
  type BareReturnStop,
  type BareStop,
  createBareMachine,
} from "./bare/machine.ts";
export type { PageRights } from "./bare/pages.ts";
export type { PortHandlers, PortSize } from "./bare/port-instruction.ts";
export { createEngine } from "./engine.ts";
export { CPU_MODELS, type CpuModel, implementedFeatures } from "./features.ts";
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
