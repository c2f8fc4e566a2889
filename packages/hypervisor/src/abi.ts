import { layout } from "@paravirt/xen-abi";

const vcpuInfo = layout("vcpu_info", "x86_64");
const vcpuTime = layout("vcpu_time_info", "x86_64");
const sharedInfo = layout("shared_info", "x86_64");

/** Byte offsets in `struct vcpu_info`, as constants for the paths that run at every event. */
export const VCPU_INFO: {
  readonly upcallPending: number;
  readonly upcallMask: number;
  readonly pendingSel: number;
  readonly cr2: number;
  readonly time: number;
  readonly size: number;
} = {
  upcallPending: vcpuInfo.offsets.evtchn_upcall_pending,
  upcallMask: vcpuInfo.offsets.evtchn_upcall_mask,
  pendingSel: vcpuInfo.offsets.evtchn_pending_sel,
  cr2: vcpuInfo.offsetOf("arch.cr2"),
  time: vcpuInfo.offsets.time,
  size: vcpuInfo.size,
};

/** Byte offsets in `struct vcpu_time_info`. */
export const VCPU_TIME: {
  readonly version: number;
  readonly tscTimestamp: number;
  readonly systemTime: number;
  readonly multiplier: number;
  readonly shift: number;
  readonly flags: number;
  readonly size: number;
} = {
  version: vcpuTime.offsets.version,
  tscTimestamp: vcpuTime.offsets.tsc_timestamp,
  systemTime: vcpuTime.offsets.system_time,
  multiplier: vcpuTime.offsets.tsc_to_system_mul,
  shift: vcpuTime.offsets.tsc_shift,
  flags: vcpuTime.offsets.flags,
  size: vcpuTime.size,
};

/** Byte offsets in `struct shared_info`. */
export const SHARED_INFO: {
  readonly evtchnPending: number;
  readonly evtchnMask: number;
  readonly wcVersion: number;
  readonly wcSec: number;
  readonly wcNsec: number;
  readonly wcSecHigh: number;
  readonly maxPfn: number;
} = {
  evtchnPending: sharedInfo.offsets.evtchn_pending,
  evtchnMask: sharedInfo.offsets.evtchn_mask,
  wcVersion: sharedInfo.offsets.wc_version,
  wcSec: sharedInfo.offsets.wc_sec,
  wcNsec: sharedInfo.offsets.wc_nsec,
  wcSecHigh: sharedInfo.offsets.wc_sec_hi,
  maxPfn: sharedInfo.offsetOf("arch.max_pfn"),
};
