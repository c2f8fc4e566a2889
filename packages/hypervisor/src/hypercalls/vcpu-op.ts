import { HYPERVISOR, layout, VCPU_SSHOTTMR_future, VCPUOP, XEN_ERRNO } from "@paravirt/xen-abi";
import { VCPU_INFO, VCPU_TIME } from "../abi.ts";
import { isGuestRange } from "../guest-memory.ts";
import type { Hypercall, HypercallContext } from "../hypercall.ts";
import { fillVcpuTime, writeVcpuTime } from "../pv-time.ts";
import { encodeRunstate, RUNSTATE_SIZE } from "../runstate.ts";
import { loadGuestContext } from "../vcpu-context.ts";
import { NEVER, type VirtualCpu } from "../virtual-cpu.ts";

const registerArea = layout("vcpu_register_runstate_memory_area", "x86_64");
const registerTime = layout("vcpu_register_time_memory_area", "x86_64");
const periodic = layout("vcpu_set_periodic_timer", "x86_64");
const singleshot = layout("vcpu_set_singleshot_timer", "x86_64");
const registerInfo = layout("vcpu_register_vcpu_info", "x86_64");
const MILLISECOND = 1_000_000n;
/** STIME_DELTA_MAX: a period that would overflow Xen's time. */
const MAX_PERIOD = (1n << 63n) - 1n - 10_000_000_000n;

function up(vcpu: VirtualCpu): number {
  if (!vcpu.initialised) return -XEN_ERRNO.EINVAL;
  if (!vcpu.down) return 0;
  vcpu.down = false;
  vcpu.domain.machine.noteRunnable(vcpu);
  return 0;
}

function down(vcpu: VirtualCpu): number {
  const { domain } = vcpu;
  // The last one that goes down takes the domain with it.
  if (domain.vcpus.every((other) => other === vcpu || other.down)) {
    domain.shutDown(0);
    return 0;
  }
  if (!vcpu.down) {
    vcpu.down = true;
    domain.machine.noteStopped(vcpu);
  }
  return 0;
}

function setPeriodic(call: HypercallContext, vcpu: VirtualCpu): number {
  const request = call.fetch(periodic, call.arg(2));
  if (request === undefined) return -XEN_ERRNO.EFAULT;
  if (request.period_ns < MILLISECOND || request.period_ns > MAX_PERIOD) return -XEN_ERRNO.EINVAL;
  vcpu.period = request.period_ns;
  vcpu.periodicLast = call.machine.clock.now();
  return 0;
}

function setSingleshot(call: HypercallContext, vcpu: VirtualCpu): number {
  if (vcpu !== call.vcpu) return -XEN_ERRNO.EINVAL;
  if (!call.load(call.arg(2), singleshot.size)) return -XEN_ERRNO.EFAULT;
  const timeout = call.view.getBigUint64(singleshot.offsets.timeout_abs_ns, true);
  const flags = call.view.getUint32(singleshot.offsets.flags, true);
  if ((flags & VCPU_SSHOTTMR_future) !== 0 && timeout < call.machine.clock.now()) return -XEN_ERRNO.ETIME;
  vcpu.singleshot = timeout;
  return 0;
}

function registerVcpuInfo(call: HypercallContext, vcpu: VirtualCpu): number {
  const request = call.fetch(registerInfo, call.arg(2));
  if (request === undefined) return -XEN_ERRNO.EFAULT;
  const { domain, machine } = call;
  if (request.offset > 4096 - VCPU_INFO.size || (request.offset & 7) !== 0) return -XEN_ERRNO.ENXIO;
  if (vcpu.infoMfn !== 0) return -XEN_ERRNO.EINVAL;
  // Oneself, or a VCPU that is down.
  if (vcpu !== call.vcpu && !vcpu.down) return -XEN_ERRNO.EINVAL;
  const mfn = request.mfn;
  if (!domain.holdWritable(mfn)) return -XEN_ERRNO.EINVAL;
  const { bytes, view } = machine.memory;
  const at = mfn * 4096 + request.offset;
  if (vcpu.infoAt === machine.dummyInfoAt) {
    bytes.fill(0, at, at + VCPU_INFO.size);
    bytes[at + VCPU_INFO.upcallMask] = 1;
  } else {
    bytes.copyWithin(at, vcpu.infoAt, vcpu.infoAt + VCPU_INFO.size);
  }
  machine.engine.frames.written(mfn);
  vcpu.infoMfn = mfn;
  vcpu.infoAt = at;
  // Whatever came between the copy and now: everything counts as pending, so that nothing is lost.
  view.setBigUint64(at + VCPU_INFO.pendingSel, 0xffff_ffff_ffff_ffffn, true);
  bytes[at + VCPU_INFO.upcallPending] = 0;
  vcpu.markEventsPending();
  writeVcpuTime(vcpu);
  return 0;
}

function registerTimeArea(call: HypercallContext, vcpu: VirtualCpu): number {
  const request = call.fetch(registerTime, call.arg(2));
  if (request === undefined) return -XEN_ERRNO.EFAULT;
  vcpu.timeArea = request.addr.p;
  call.bytes.fill(0, 0, VCPU_TIME.size);
  fillVcpuTime(vcpu, call.view, 0, call.machine.clock.now());
  // Xen tells nobody when the area is not mapped.
  call.store(vcpu.timeArea, VCPU_TIME.size);
  return 0;
}

function registerRunstate(call: HypercallContext, vcpu: VirtualCpu): number {
  const request = call.fetch(registerArea, call.arg(2));
  if (request === undefined) return -XEN_ERRNO.EFAULT;
  const area = request.addr.p;
  if (!isGuestRange(area, RUNSTATE_SIZE)) return -XEN_ERRNO.EFAULT;
  vcpu.runstateArea = area;
  encodeRunstate(vcpu, call.view, 0, vcpu.runstateEntry);
  call.store(area, RUNSTATE_SIZE);
  return 0;
}

/** Brings VCPUs up and down, and registers what belongs to each: info, runstate, timers. */
export const vcpuOp: Hypercall = {
  number: HYPERVISOR.vcpu_op,
  name: "vcpu_op",
  support: "full",
  operations: [
    { number: VCPUOP.initialise, name: "initialise", support: "full" },
    { number: VCPUOP.up, name: "up", support: "full" },
    { number: VCPUOP.down, name: "down", support: "full" },
    { number: VCPUOP.is_up, name: "is_up", support: "full" },
    { number: VCPUOP.get_runstate_info, name: "get_runstate_info", support: "full" },
    { number: VCPUOP.register_runstate_memory_area, name: "register_runstate_memory_area", support: "full" },
    { number: VCPUOP.set_periodic_timer, name: "set_periodic_timer", support: "full" },
    { number: VCPUOP.stop_periodic_timer, name: "stop_periodic_timer", support: "full" },
    { number: VCPUOP.set_singleshot_timer, name: "set_singleshot_timer", support: "full" },
    { number: VCPUOP.stop_singleshot_timer, name: "stop_singleshot_timer", support: "full" },
    { number: VCPUOP.register_vcpu_info, name: "register_vcpu_info", support: "full" },
    { number: VCPUOP.send_nmi, name: "send_nmi", support: "full" },
    {
      number: VCPUOP.get_physid,
      name: "get_physid",
      support: "full",
      note: "-EINVAL, as for any VCPU that isn't pinned.",
    },
    { number: VCPUOP.register_vcpu_time_memory_area, name: "register_vcpu_time_memory_area", support: "full" },
  ],
  handle(call) {
    const vcpu = call.domain.vcpus[call.u32(1)];
    if (vcpu === undefined) return -XEN_ERRNO.ENOENT;
    switch (call.s32(0)) {
      case VCPUOP.initialise:
        return loadGuestContext(call, vcpu, call.arg(2));
      case VCPUOP.up:
        return up(vcpu);
      case VCPUOP.down:
        return down(vcpu);
      case VCPUOP.is_up:
        return vcpu.down ? 0 : 1;
      case VCPUOP.get_runstate_info:
        encodeRunstate(vcpu, call.view, 0, call.machine.clock.now());
        return call.store(call.arg(2), RUNSTATE_SIZE) ? 0 : -XEN_ERRNO.EFAULT;
      case VCPUOP.register_runstate_memory_area:
        return registerRunstate(call, vcpu);
      case VCPUOP.set_periodic_timer:
        return setPeriodic(call, vcpu);
      case VCPUOP.stop_periodic_timer:
        vcpu.period = 0n;
        return 0;
      case VCPUOP.set_singleshot_timer:
        return setSingleshot(call, vcpu);
      case VCPUOP.stop_singleshot_timer:
        if (vcpu !== call.vcpu) return -XEN_ERRNO.EINVAL;
        vcpu.singleshot = NEVER;
        return 0;
      case VCPUOP.register_vcpu_info:
        return registerVcpuInfo(call, vcpu);
      case VCPUOP.send_nmi:
        if (call.arg(2) !== 0n) return -XEN_ERRNO.EINVAL;
        if (!vcpu.nmiPending) {
          vcpu.nmiPending = true;
          vcpu.unblock();
        }
        return 0;
      case VCPUOP.get_physid:
        return -XEN_ERRNO.EINVAL;
      case VCPUOP.register_vcpu_time_memory_area:
        return registerTimeArea(call, vcpu);
      default:
        return -XEN_ERRNO.ENOSYS;
    }
  },
};
