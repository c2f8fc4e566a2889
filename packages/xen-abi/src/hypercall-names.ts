import { XEN_ERRNO } from "./errno.ts";
import {
  CALLBACKOP,
  CONSOLEIO,
  EVTCHNOP,
  GNTTABOP,
  HVMOP,
  HYPERVISOR,
  MEMOP_EXTENT_SHIFT,
  PHYSDEVOP,
  SCHEDOP,
  VCPUOP,
  VMASST_CMD,
  XENMEM,
  XENNMI,
  XENPMU,
  XENVER,
} from "./hypercall-numbers.ts";

type Numbers = Readonly<Record<string, number>>;

/** The hypercalls whose first argument is a command, with the table that names it. */
const COMMANDS: ReadonlyMap<number, Numbers> = new Map<number, Numbers>([
  [HYPERVISOR.memory_op, XENMEM],
  [HYPERVISOR.xen_version, XENVER],
  [HYPERVISOR.console_io, CONSOLEIO],
  [HYPERVISOR.grant_table_op, GNTTABOP],
  [HYPERVISOR.vm_assist, VMASST_CMD],
  [HYPERVISOR.vcpu_op, VCPUOP],
  [HYPERVISOR.nmi_op, XENNMI],
  [HYPERVISOR.sched_op, SCHEDOP],
  [HYPERVISOR.callback_op, CALLBACKOP],
  [HYPERVISOR.event_channel_op, EVTCHNOP],
  [HYPERVISOR.physdev_op, PHYSDEVOP],
  [HYPERVISOR.hvm_op, HVMOP],
  [HYPERVISOR.xenpmu_op, XENPMU],
]);

const inverted = new Map<Numbers, ReadonlyMap<number, string>>();

/** The first name of `value` in `table`; tables list the usual name of an alias first. */
function nameIn(table: Numbers, value: number): string | undefined {
  let names = inverted.get(table);
  if (names === undefined) {
    const fresh = new Map<number, string>();
    for (const [name, number] of Object.entries(table)) if (!fresh.has(number)) fresh.set(number, name);
    inverted.set(table, fresh);
    names = fresh;
  }
  return names.get(value);
}

/** Names hypercall `number` as `xen.h` does, without its prefix; `undefined` when the headers have no such number. */
export function hypercallName(number: number): string | undefined {
  return nameIn(HYPERVISOR, number);
}

/** Tells whether the first argument of hypercall `number` is a command that {@link hypercallCommandName} may name. */
export function hypercallHasCommand(number: number): boolean {
  return COMMANDS.has(number);
}

/**
 * Names the command in a hypercall's first argument, for logs and statistics: `(29, 1)` is `"block"`.
 * `undefined` when the hypercall takes no command there, or the headers do not know it.
 */
export function hypercallCommandName(number: number, command: number): string | undefined {
  const table = COMMANDS.get(number);
  if (table === undefined) return undefined;
  // memory_op alone packs "extents already done" above its command.
  const bare = number === HYPERVISOR.memory_op ? command & ((1 << MEMOP_EXTENT_SHIFT) - 1) : command;
  return nameIn(table, bare);
}

/** Names an error number, whatever its sign: `-22` is `"EINVAL"`; `undefined` when `errno.h` has no such number. */
export function errnoName(errno: number): string | undefined {
  return nameIn(XEN_ERRNO, Math.abs(errno));
}
