/**
 * Xen domains, VCPUs, event channels, grant tables and hypercalls for PV guests.
 * @packageDocumentation
 */

export { auditHypervisor } from "./audit.ts";
export { type CpuidOptions, CpuidPolicy, DEFAULT_FEATURES, featureNames } from "./cpuid.ts";
export { type CrashReport, formatCrash } from "./crash.ts";
export { DIFFERENCES, type Difference, renderHypercalls } from "./documentation.ts";
export { Domain, type DomainOptions, type Shutdown } from "./domain.ts";
export { type Channel, type EventAbi, EventChannels, type HostChannel, type HostListener } from "./event-channels.ts";
export type { FifoEvents, FifoQueues } from "./event-fifo.ts";
export type { KernelGate } from "./gate.ts";
export type { GuestMapping } from "./grant-map.ts";
export { type ActiveGrant, type GrantLink, type GrantMapping, GrantTable, mapGrant } from "./grants.ts";
export { HypercallHistory, type RememberedHypercall } from "./history.ts";
export type { Hypercall, HypercallContext, Operation, Support } from "./hypercall.ts";
export { HYPERCALLS } from "./hypercalls/index.ts";
export { Hypervisor, type HypervisorOptions, type SchedulerPort, type StopReason } from "./hypervisor.ts";
export type { TscScale } from "./pv-time.ts";
export { type HypercallCount, HypercallStatistics } from "./statistics.ts";
export { defaultVersion, type VersionStrings } from "./version.ts";
export { type Callback, type PvStart, VirtualCpu } from "./virtual-cpu.ts";
