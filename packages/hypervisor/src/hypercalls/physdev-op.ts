import { HYPERVISOR, layout, PHYSDEVOP, XEN_ERRNO, XENIRQSTAT } from "@paravirt/xen-abi";
import type { Hypercall, HypercallContext, Operation } from "../hypercall.ts";

const setIopl = layout("physdev_set_iopl", "x86_64");
const setIobitmap = layout("physdev_set_iobitmap", "x86_64");
const statusQuery = layout("physdev_irq_status_query", "x86_64");
const eoiGmfn = layout("physdev_pirq_eoi_gmfn", "x86_64");
/** PIRQs that a domU may number, though it has none. */
const NR_PIRQS = 32;
const { EBUSY, EFAULT, EINVAL, ENOSYS, EPERM } = XEN_ERRNO;

/** Operations for devices that a domU doesn't have: the bytes of their argument, which must be readable. */
const REFUSED: ReadonlyMap<number, number> = new Map([
  [PHYSDEVOP.apic_read, layout("physdev_apic", "x86_64").size],
  [PHYSDEVOP.apic_write, layout("physdev_apic", "x86_64").size],
  [PHYSDEVOP.alloc_irq_vector, layout("physdev_irq", "x86_64").size],
  [PHYSDEVOP.map_pirq, layout("physdev_map_pirq", "x86_64").size],
  [PHYSDEVOP.unmap_pirq, layout("physdev_unmap_pirq", "x86_64").size],
  [PHYSDEVOP.manage_pci_add, 2],
  [PHYSDEVOP.manage_pci_remove, 2],
  [PHYSDEVOP.restore_msi, 2],
  [PHYSDEVOP.manage_pci_add_ext, 2],
  [PHYSDEVOP.setup_gsi, layout("physdev_setup_gsi", "x86_64").size],
  [PHYSDEVOP.get_free_pirq, layout("physdev_get_free_pirq", "x86_64").size],
  [PHYSDEVOP.pci_mmcfg_reserved, layout("physdev_pci_mmcfg_reserved", "x86_64").size],
  [PHYSDEVOP.pci_device_add, 4],
  [PHYSDEVOP.pci_device_remove, 4],
  [PHYSDEVOP.restore_msi_ext, 4],
  [PHYSDEVOP.dbgp_op, 2],
  [PHYSDEVOP.prepare_msix, 4],
  [PHYSDEVOP.release_msix, 4],
]);

/** One operation, its argument at a guest address: 0 or `-errno`. */
export function performPhysdevOp(call: HypercallContext, command: number, address: bigint): number {
  const { vcpu, domain } = call;
  switch (command) {
    case PHYSDEVOP.set_iopl: {
      const request = call.fetch(setIopl, address);
      if (request === undefined) return -EFAULT;
      if (request.iopl > 3) return -EINVAL;
      vcpu.iopl = request.iopl;
      return 0;
    }
    case PHYSDEVOP.set_iobitmap: {
      const request = call.fetch(setIobitmap, address);
      if (request === undefined) return -EFAULT;
      if (request.nr_ports > 65536) return -EINVAL;
      vcpu.ioBitmap = request.bitmap;
      vcpu.ioBitmapPorts = request.nr_ports;
      return 0;
    }
    case PHYSDEVOP.irq_status_query: {
      const request = call.fetch(statusQuery, address);
      if (request === undefined) return -EFAULT;
      if (request.irq >= NR_PIRQS) return -EINVAL;
      return call.put(statusQuery, address, { flags: XENIRQSTAT.needs_eoi }) ? 0 : -EFAULT;
    }
    case PHYSDEVOP.eoi:
      return call.load(address, 4) ? -EINVAL : -EFAULT;
    case PHYSDEVOP.pirq_eoi_gmfn_v1:
    case PHYSDEVOP.pirq_eoi_gmfn_v2: {
      const request = call.fetch(eoiGmfn, address);
      if (request === undefined) return -EFAULT;
      if (domain.eoiMapMfn !== 0) return -EBUSY;
      if (!domain.holdWritable(request.gmfn)) return -EINVAL;
      domain.eoiMapMfn = request.gmfn;
      return 0;
    }
    case PHYSDEVOP.IRQ_UNMASK_NOTIFY:
      return 0;
    default: {
      const size = REFUSED.get(command);
      if (size === undefined) return -ENOSYS;
      return call.load(address, size) ? -EPERM : -EFAULT;
    }
  }
}

const refused = Object.entries(PHYSDEVOP)
  .filter(([, number]) => REFUSED.has(number))
  .map(([name, number]): Operation => ({ number, name, support: "full", note: "-EPERM: a domU has no such device." }));

const operations: readonly Operation[] = [
  { number: PHYSDEVOP.IRQ_UNMASK_NOTIFY, name: "IRQ_UNMASK_NOTIFY", support: "full" },
  { number: PHYSDEVOP.irq_status_query, name: "irq_status_query", support: "full" },
  { number: PHYSDEVOP.set_iopl, name: "set_iopl", support: "full" },
  { number: PHYSDEVOP.set_iobitmap, name: "set_iobitmap", support: "full" },
  { number: PHYSDEVOP.eoi, name: "eoi", support: "full", note: "-EINVAL: a domU has no interrupt lines." },
  { number: PHYSDEVOP.pirq_eoi_gmfn_v1, name: "pirq_eoi_gmfn_v1", support: "full" },
  { number: PHYSDEVOP.pirq_eoi_gmfn_v2, name: "pirq_eoi_gmfn_v2", support: "full" },
  ...refused,
];

/** Physical devices: I/O privilege, interrupts, PCI. */
export const physdevOp: Hypercall = {
  number: HYPERVISOR.physdev_op,
  name: "physdev_op",
  support: "full",
  operations,
  handle: (call) => performPhysdevOp(call, call.s32(0), call.arg(1)),
};
