import { ParavirtError } from "@paravirt/core";
import { type Layout, type Partially, type StructName, type StructValue, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Domain } from "./domain.ts";
import { guestLoad, guestStore } from "./guest-memory.ts";
import type { Hypervisor } from "./hypervisor.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

/** How much of a hypercall, or of one of its operations, is there. */
export type Support = "full" | "partial" | "none";

/** One operation of a hypercall that has several. */
export interface Operation {
  /** Its number. */
  readonly number: number;
  /** Xen's word for it. */
  readonly name: string;
  /** How much of it is there. */
  readonly support: Support;
  /** What is missing, or differs from Xen 4.17 on purpose. */
  readonly note?: string;
}

/** One line of the hypercall table. */
export interface Hypercall {
  /** `__HYPERVISOR_*` in public/xen.h. */
  readonly number: number;
  /** Xen's word for it. */
  readonly name: string;
  /** How much of it is there. */
  readonly support: Support;
  /** What is missing, or differs from Xen 4.17 on purpose. */
  readonly note?: string;
  /** Operations by number, where an argument chooses one. */
  readonly operations?: readonly Operation[];
  /** Argument that holds the operation: 0 unless given, -1 where the handler counts operations itself. */
  readonly operationArgument?: number;
  /** Bits of that argument that are the operation; all unless given. */
  readonly operationMask?: number;
  /**
   * Carries it out; the result goes to RAX. `undefined` says that RAX is set already, or that the call will be issued
   * again. Absent: answered -ENOSYS.
   */
  readonly handle?: (call: HypercallContext) => number | bigint | undefined;
}

/** Bytes of the largest structure that a handler copies. */
const SCRATCH_BYTES = 8192;

/** What a hypercall's handler is given: who calls, the arguments, and a private copy of what they point to. Reused from call to call. */
export class HypercallContext {
  /** The hypervisor. */
  readonly machine: Hypervisor;
  /** Who calls. */
  vcpu!: VirtualCpu;
  /** Its domain. */
  domain!: Domain;
  /** Arguments as low and high words: argument `i` is words `2i` and `2i + 1`. */
  readonly words: Uint32Array;
  /** Arguments in full. */
  readonly args: BigUint64Array;
  /** Private copy of the structure read last. */
  readonly bytes: Uint8Array = new Uint8Array(SCRATCH_BYTES);
  /** The same bytes, for fields. */
  readonly view: DataView = new DataView(this.bytes.buffer);
  /** Whether this context belongs to the calls inside a multicall. */
  inMulticall = false;
  /** Context for the calls inside a multicall. */
  batched!: HypercallContext;
  /** Set by a handler that stopped halfway: the call is issued again with {@link HypercallContext.args} as they are now. */
  again = false;

  private readonly table: readonly (Hypercall | undefined)[];

  constructor(machine: Hypervisor, table: readonly (Hypercall | undefined)[]) {
    this.machine = machine;
    this.table = table;
    this.args = new BigUint64Array(6);
    this.words = new Uint32Array(this.args.buffer);
  }

  /** Looks the call with this number up, counts it and carries it out; -ENOSYS for a number that has no handler. */
  perform(number: number): number | bigint | undefined {
    const row = this.table[number];
    const argument = row?.operations === undefined ? -1 : (row.operationArgument ?? 0);
    const operation = argument < 0 ? -1 : (this.u32(argument) & (row?.operationMask ?? 0xffffffff)) >>> 0;
    this.domain.statistics.count(number, operation);
    return row?.handle === undefined ? -XEN_ERRNO.ENOSYS : row.handle(this);
  }

  /** Low 32 bits of an argument. */
  u32(argument: number): number {
    return this.words[argument * 2] as number;
  }

  /** Low 32 bits of an argument as a signed number. */
  s32(argument: number): number {
    return (this.words[argument * 2] as number) | 0;
  }

  /** An argument in full: an address, mostly. */
  arg(argument: number): bigint {
    return this.args[argument] as bigint;
  }

  /** A frame number or count, exact below 2^53; larger ones come out as the impossible 2^53 - 1. */
  whole(argument: number): number {
    const high = this.words[argument * 2 + 1] as number;
    return high >= 0x20_0000 ? Number.MAX_SAFE_INTEGER : high * 0x1_0000_0000 + (this.words[argument * 2] as number);
  }

  /** Copies `length` bytes at a guest address into {@link HypercallContext.bytes}; `false` means -EFAULT. */
  load(address: bigint, length: number): boolean {
    return guestLoad(this.vcpu, address, this.bytes, length);
  }

  /** Copies the first `length` bytes back to the guest; `false` means -EFAULT. */
  store(address: bigint, length: number): boolean {
    return guestStore(this.vcpu, address, this.bytes, length);
  }

  /** Copies and decodes one structure; `undefined` means -EFAULT. */
  fetch<N extends StructName>(of: Layout<N, "x86_64">, address: bigint): StructValue<N> | undefined {
    return this.load(address, of.size) ? of.read(this.view, 0) : undefined;
  }

  /** Changes fields of the structure fetched last and copies it back; `false` means -EFAULT. */
  put<N extends StructName>(of: Layout<N, "x86_64">, address: bigint, value: Partially<StructValue<N>>): boolean {
    of.write(this.view, 0, value);
    return this.store(address, of.size);
  }

  /** A 64-bit field of the copy as a number, as {@link HypercallContext.whole} gives it. */
  field(offset: number): number {
    const high = this.view.getUint32(offset + 4, true);
    return high >= 0x20_0000 ? Number.MAX_SAFE_INTEGER : high * 0x1_0000_0000 + this.view.getUint32(offset, true);
  }
}

/** Checks that a table has no number twice; a mistake of ours. */
export function indexTable(table: readonly Hypercall[]): readonly (Hypercall | undefined)[] {
  const byNumber: (Hypercall | undefined)[] = [];
  for (const row of table) {
    if (byNumber[row.number] !== undefined)
      throw new ParavirtError("BUG", `hypercall ${row.number} is in the table twice`);
    byNumber[row.number] = row;
  }
  return byNumber;
}
