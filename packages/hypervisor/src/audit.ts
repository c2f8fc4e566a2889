import type { FrameHolder } from "@paravirt/paging";
import type { Hypervisor } from "./hypervisor.ts";

/**
 * Checks that every reference to a frame is accounted for: those in page tables by paging, those that the hypervisor
 * itself holds (roots, descriptor pages, registered pages, mapped grants) from the state of all domains. One line for
 * each deviation, none when all is well. Slow: for tests and for finding bugs. Grants of destroyed domains that are
 * still mapped count as deviations.
 */
export function auditHypervisor(hypervisor: Hypervisor): readonly string[] {
  const holders: FrameHolder[] = [];
  const hold = (mfn: number, typed = true): void => {
    if (mfn !== 0) holders.push({ mfn, typed });
  };
  for (const domain of hypervisor.list()) {
    for (const vcpu of domain.vcpus) {
      hold(vcpu.roots.kernel);
      hold(vcpu.roots.user);
      hold(vcpu.infoMfn);
      for (const mfn of vcpu.gdtFrames) hold(mfn);
    }
    hold(domain.eoiMapMfn);
    const { fifo } = domain.events;
    for (const mfn of fifo?.pages ?? []) hold(mfn);
    for (const queues of fifo?.queues ?? []) if (queues !== undefined) hold(queues.mfn);
    for (const grant of domain.grants.activeGrants()) {
      if (grant.through !== undefined) continue;
      for (let i = 0; i < grant.readers; i++) hold(grant.mfn, false);
      for (let i = 0; i < grant.writers; i++) hold(grant.mfn, true);
    }
  }
  return hypervisor.paging.audit(holders);
}
