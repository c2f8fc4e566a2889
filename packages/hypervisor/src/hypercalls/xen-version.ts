import { HYPERVISOR, layout, VIRT_X86_64, XEN_ERRNO, XENFEAT, XENVER } from "@paravirt/xen-abi";
import type { Hypercall, HypercallContext } from "../hypercall.ts";

const compileInfo = layout("xen_compile_info", "x86_64");
const parameters = layout("xen_platform_parameters", "x86_64");
const featureInfo = layout("xen_feature_info", "x86_64");

/** Sizes of xen_extraversion_t, xen_capabilities_info_t, xen_changeset_info_t, xen_commandline_t. */
const EXTRA_BYTES = 16;
const CAPABILITIES_BYTES = 1024;
const CHANGESET_BYTES = 64;
const COMMAND_LINE_BYTES = 1024;

/** Features of submap 0 that Xen 4.17 offers a 64-bit PV domU: 0x220f0. */
const FEATURES: number =
  (1 << XENFEAT.pae_pgdir_above_4gb) |
  (1 << XENFEAT.mmu_pt_update_preserve_ad) |
  (1 << XENFEAT.highmem_assist) |
  (1 << XENFEAT.gnttab_map_avail_bits) |
  (1 << XENFEAT.memory_op_vnode_supported) |
  (1 << XENFEAT.direct_mapped);

function text(call: HypercallContext, value: string, size: number): number {
  for (let i = 0; i < size; i++) call.bytes[i] = i < value.length && i < size - 1 ? value.charCodeAt(i) & 0xff : 0;
  return call.store(call.arg(1), size) ? 0 : -XEN_ERRNO.EFAULT;
}

/** Says what Xen this is, and what it can do. */
export const xenVersion: Hypercall = {
  number: HYPERVISOR.xen_version,
  name: "xen_version",
  support: "full",
  note: "Answers as Debian's Xen 4.17.7 unless the VMM gives other strings.",
  operations: [
    { number: XENVER.version, name: "version", support: "full" },
    { number: XENVER.extraversion, name: "extraversion", support: "full" },
    { number: XENVER.compile_info, name: "compile_info", support: "full" },
    { number: XENVER.capabilities, name: "capabilities", support: "full" },
    { number: XENVER.changeset, name: "changeset", support: "full" },
    { number: XENVER.platform_parameters, name: "platform_parameters", support: "full" },
    { number: XENVER.get_features, name: "get_features", support: "full" },
    { number: XENVER.pagesize, name: "pagesize", support: "full" },
    { number: XENVER.guest_handle, name: "guest_handle", support: "full" },
    { number: XENVER.commandline, name: "commandline", support: "full", note: '"<denied>", as for any domU.' },
    { number: XENVER.build_id, name: "build_id", support: "full", note: "-EPERM, as for any domU." },
  ],
  handle(call) {
    const { version } = call.machine;
    const address = call.arg(1);
    switch (call.s32(0)) {
      case XENVER.version:
        return (version.major << 16) | version.minor;
      case XENVER.extraversion:
        return text(call, version.extra, EXTRA_BYTES);
      case XENVER.compile_info: {
        call.bytes.fill(0, 0, compileInfo.size);
        const stored = call.put(compileInfo, address, {
          compiler: version.compiler.slice(0, 63),
          compile_by: version.compileBy.slice(0, 15),
          compile_domain: version.compileDomain.slice(0, 31),
          compile_date: version.compileDate.slice(0, 31),
        });
        return stored ? 0 : -XEN_ERRNO.EFAULT;
      }
      case XENVER.capabilities:
        return text(call, version.capabilities, CAPABILITIES_BYTES);
      case XENVER.changeset:
        return text(call, version.changeset, CHANGESET_BYTES);
      case XENVER.platform_parameters:
        return call.put(parameters, address, { virt_start: VIRT_X86_64.HYPERVISOR_VIRT_START }) ? 0 : -XEN_ERRNO.EFAULT;
      case XENVER.get_features: {
        const request = call.fetch(featureInfo, address);
        if (request === undefined) return -XEN_ERRNO.EFAULT;
        if (request.submap_idx !== 0) return -XEN_ERRNO.EINVAL;
        return call.put(featureInfo, address, { submap: FEATURES }) ? 0 : -XEN_ERRNO.EFAULT;
      }
      case XENVER.pagesize:
        return address === 0n ? 4096 : -XEN_ERRNO.EINVAL;
      case XENVER.guest_handle:
        call.bytes.set(call.domain.handle);
        return call.store(address, call.domain.handle.length) ? 0 : -XEN_ERRNO.EFAULT;
      case XENVER.commandline:
        return text(call, "<denied>", COMMAND_LINE_BYTES);
      case XENVER.build_id:
        return -XEN_ERRNO.EPERM;
      default:
        return -XEN_ERRNO.ENOSYS;
    }
  },
};
