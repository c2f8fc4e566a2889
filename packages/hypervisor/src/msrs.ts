import { isCanonical, VECTOR } from "./traps.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

/** MSR numbers that a PV guest of Xen 4.17 may meet. */
const MSR = {
  TSC: 0x10,
  APIC_BASE: 0x1b,
  PATCH_LEVEL: 0x8b,
  PLATFORM_INFO: 0xce,
  MISC_FEATURES_ENABLES: 0x140,
  MCG_CAP: 0x179,
  MCG_STATUS: 0x17a,
  PAT: 0x277,
  MC0_CTL: 0x400,
  MC_LAST: 0x407,
  HYPERCALL_PAGE: 0x40000000,
  EFER: 0xc0000080,
  FS_BASE: 0xc0000100,
  GS_BASE: 0xc0000101,
  KERNEL_GS_BASE: 0xc0000102,
  TSC_AUX: 0xc0000103,
  K7_EVNTSEL0: 0xc0010000,
  K7_PERFCTR3: 0xc0010007,
  HWCR: 0xc0010015,
  PATCH_LOADER: 0xc0010020,
  NB_CFG: 0xc001001f,
  AMD64_LS_CFG: 0xc0011020,
  DE_CFG: 0xc0011029,
  FAM15H_EVNTSEL0: 0xc0010200,
  FAM15H_PERFCTR5: 0xc001020b,
} as const;

/** SCE, LME, LMA and NX. */
const EFER_VALUE = 0xd01n;
/** Xen's own PAT: WB WT UC- UC WC WP UC UC. */
const XEN_PAT = 0x0000_0501_0007_0406n;
/** LFENCE is serialising. */
const DE_CFG_VALUE = 2n;
/** Two machine-check banks, as vMCE gives every guest. */
const MCG_CAP_VALUE = 2n;

/** Value of an MSR for RDMSR in guest-kernel mode; undefined where Xen raises #GP (guest_rdmsr and pv's read_msr). */
export function readMsr(vcpu: VirtualCpu, msr: number): bigint | undefined {
  if (msr >= MSR.MC0_CTL && msr <= MSR.MC_LAST) return 0n;
  // vPMU is off: the counters read 0.
  if (isPmu(msr)) return 0n;
  switch (msr) {
    case MSR.TSC:
      return vcpu.domain.machine.readTsc();
    case MSR.APIC_BASE:
      // Enabled, and the bootstrap processor's flag on VCPU 0.
      return vcpu.id === 0 ? 0xfee00900n : 0xfee00800n;
    case MSR.PATCH_LEVEL:
    case MSR.PLATFORM_INFO:
    case MSR.MISC_FEATURES_ENABLES:
    case MSR.MCG_STATUS:
    case MSR.HWCR:
    case MSR.NB_CFG:
      return 0n;
    case MSR.MCG_CAP:
      return MCG_CAP_VALUE;
    case MSR.PAT:
      return XEN_PAT;
    case MSR.EFER:
      return EFER_VALUE;
    case MSR.FS_BASE:
      return vcpu.cpu.fsBase;
    case MSR.GS_BASE:
      return vcpu.cpu.gsBase;
    case MSR.KERNEL_GS_BASE:
      return vcpu.otherGsBase;
    case MSR.TSC_AUX:
      return BigInt(vcpu.cpu.tscAux);
    case MSR.DE_CFG:
      return DE_CFG_VALUE;
    default:
      // Xen spares a guest that cannot catch the fault yet.
      return vcpu.trapAddress[VECTOR.GP] === 0n ? 0n : undefined;
  }
}

function isPmu(msr: number): boolean {
  return (
    (msr >= MSR.K7_EVNTSEL0 && msr <= MSR.K7_PERFCTR3) || (msr >= MSR.FAM15H_EVNTSEL0 && msr <= MSR.FAM15H_PERFCTR5)
  );
}

/** Carries out WRMSR in guest-kernel mode; `false` where Xen raises #GP. */
export function writeMsr(vcpu: VirtualCpu, msr: number, value: bigint): boolean {
  if ((msr >= MSR.MC0_CTL && msr <= MSR.MC_LAST) || isPmu(msr)) return true;
  switch (msr) {
    case MSR.FS_BASE:
      if (!isCanonical(value)) return false;
      vcpu.cpu.fsBase = value;
      return true;
    case MSR.GS_BASE:
      if (!isCanonical(value)) return false;
      vcpu.cpu.gsBase = value;
      return true;
    case MSR.KERNEL_GS_BASE:
      if (!isCanonical(value)) return false;
      vcpu.otherGsBase = value;
      return true;
    case MSR.TSC_AUX:
      if (value >> 32n !== 0n) return false;
      vcpu.cpu.tscAux = Number(value);
      return true;
    case MSR.MISC_FEATURES_ENABLES:
      return value === 0n;
    case MSR.PATCH_LOADER:
    case MSR.HWCR:
    case MSR.NB_CFG:
    case MSR.AMD64_LS_CFG:
    case MSR.MCG_STATUS:
    case MSR.DE_CFG:
      return true;
    case MSR.HYPERCALL_PAGE:
      return vcpu.domain.writeHypercallPage(value);
    default:
      return vcpu.trapAddress[VECTOR.GP] === 0n;
  }
}
