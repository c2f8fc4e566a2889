import { type Hypercall, indexTable } from "../hypercall.ts";
import { argoOp } from "./argo-op.ts";
import { callbackOp } from "./callback-op.ts";
import { consoleIo } from "./console-io.ts";
import { dmOp } from "./dm-op.ts";
import { domctl } from "./domctl.ts";
import { eventChannelOp } from "./event-channel-op.ts";
import { eventChannelOpCompat } from "./event-channel-op-compat.ts";
import { fpuTaskswitch } from "./fpu-taskswitch.ts";
import { getDebugreg } from "./get-debugreg.ts";
import { grantTableOp } from "./grant-table-op.ts";
import { hvmOp } from "./hvm-op.ts";
import { hypfsOp } from "./hypfs-op.ts";
import { iret } from "./iret.ts";
import { kexecOp } from "./kexec-op.ts";
import { mca } from "./mca.ts";
import { memoryOp } from "./memory-op.ts";
import { mmuUpdate } from "./mmu-update.ts";
import { mmuextOp } from "./mmuext-op.ts";
import { multicall } from "./multicall.ts";
import { nmiOp } from "./nmi-op.ts";
import { physdevOp } from "./physdev-op.ts";
import { physdevOpCompat } from "./physdev-op-compat.ts";
import { platformOp } from "./platform-op.ts";
import { schedOp } from "./sched-op.ts";
import { schedOpCompat } from "./sched-op-compat.ts";
import { setCallbacks } from "./set-callbacks.ts";
import { setDebugreg } from "./set-debugreg.ts";
import { setGdt } from "./set-gdt.ts";
import { setSegmentBase } from "./set-segment-base.ts";
import { setTimerOp } from "./set-timer-op.ts";
import { setTrapTable } from "./set-trap-table.ts";
import { stackSwitch } from "./stack-switch.ts";
import { sysctl } from "./sysctl.ts";
import { tmemOp } from "./tmem-op.ts";
import { updateDescriptor } from "./update-descriptor.ts";
import { updateVaMapping } from "./update-va-mapping.ts";
import { updateVaMappingOtherdomain } from "./update-va-mapping-otherdomain.ts";
import { vcpuOp } from "./vcpu-op.ts";
import { vmAssist } from "./vm-assist.ts";
import { xenVersion } from "./xen-version.ts";
import { xenoprofOp } from "./xenoprof-op.ts";
import { xenpmuOp } from "./xenpmu-op.ts";
import { xsmOp } from "./xsm-op.ts";

/** All hypercalls of Xen 4.17, in the order of their numbers. */
export const HYPERCALLS: readonly Hypercall[] = [
  setTrapTable,
  mmuUpdate,
  setGdt,
  stackSwitch,
  setCallbacks,
  fpuTaskswitch,
  schedOpCompat,
  platformOp,
  setDebugreg,
  getDebugreg,
  updateDescriptor,
  memoryOp,
  multicall,
  updateVaMapping,
  setTimerOp,
  eventChannelOpCompat,
  xenVersion,
  consoleIo,
  physdevOpCompat,
  grantTableOp,
  vmAssist,
  updateVaMappingOtherdomain,
  iret,
  vcpuOp,
  setSegmentBase,
  mmuextOp,
  xsmOp,
  nmiOp,
  schedOp,
  callbackOp,
  xenoprofOp,
  eventChannelOp,
  physdevOp,
  hvmOp,
  sysctl,
  domctl,
  kexecOp,
  tmemOp,
  argoOp,
  xenpmuOp,
  dmOp,
  hypfsOp,
  mca,
];

/** The same, by number. */
export const hypercallTable: readonly (Hypercall | undefined)[] = indexTable(HYPERCALLS);
