import fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import { type Abi, describeFields, layout, type StructName, type StructValue, structNames } from "./index.ts";

const ABIS: readonly Abi[] = ["x86_64", "x86_32"];

describe("a layout", () => {
  test("knows the start_info page as the domain builder writes it", () => {
    const startInfo = layout("start_info", "x86_64");
    expect(startInfo.offsets.nr_pages).toBe(32);
    expect(startInfo.offsetOf("console.domU.evtchn")).toBe(startInfo.offsets.console + 8);
    const view = new DataView(new ArrayBuffer(4096));
    startInfo.write(view, 0, {
      magic: "xen-3.0-x86_64",
      nr_pages: 65536,
      shared_info: 0x7d000n,
      console: { domU: { mfn: 0x4a02, evtchn: 2 } },
      cmd_line: "console=hvc0",
    });
    const value = startInfo.read(view, 0);
    expect(value.magic).toBe("xen-3.0-x86_64");
    expect(value.nr_pages).toBe(65536);
    expect(value.console.domU).toEqual({ mfn: 0x4a02, evtchn: 2 });
    expect(value.console.dom0.info_off).toBe(0x4a02);
    expect(value.cmd_line).toBe("console=hvc0");
  });

  test("is the same object each time and cannot be changed", () => {
    expect(layout("vcpu_info", "x86_32")).toBe(layout("vcpu_info", "x86_32"));
    expect(Object.isFrozen(layout("vcpu_info", "x86_32").offsets)).toBe(true);
  });

  test("aligns 64-bit fields to 4 bytes for 32-bit guests", () => {
    expect(layout("vcpu_runstate_info", "x86_64").offsets.state_entry_time).toBe(8);
    expect(layout("vcpu_runstate_info", "x86_32").offsets.state_entry_time).toBe(4);
    expect(layout("blkif_request", "x86_64").size).toBe(112);
    expect(layout("blkif_request", "x86_32").size).toBe(108);
  });

  test("offsetOf goes through arrays and refuses what lies outside", () => {
    const shared = layout("shared_info", "x86_64");
    expect(shared.offsetOf("vcpu_info[2].time.version")).toBe(2 * 64 + 32);
    expect(shared.offsetOf("evtchn_pending[63]")).toBe(shared.offsets.evtchn_pending + 63 * 8);
    expect(() => shared.offsetOf("vcpu_info[32]")).toThrow("element 32 of 32");
    expect(() => shared.offsetOf("vcpu_info[0].nothing")).toThrow("no field nothing");
  });

  test("write leaves alone what it is not given", () => {
    const map = layout("gnttab_map_grant_ref", "x86_64");
    const bytes = new Uint8Array(map.size).fill(0xaa);
    map.write(new DataView(bytes.buffer), 0, { status: -3, handle: 7 });
    const changed = [...bytes.keys()].filter((at) => bytes[at] !== 0xaa);
    expect(Math.min(...changed)).toBe(map.offsets.status);
    expect(Math.max(...changed)).toBe(map.offsets.handle + 3);
  });

  test("write refuses a wrong value by name and changes nothing", () => {
    const query = layout("gnttab_query_size", "x86_64");
    const bytes = new Uint8Array(query.size);
    const view = new DataView(bytes.buffer);
    expect(() => query.write(view, 0, { nr_frames: 1, status: 40000 })).toThrow("gnttab_query_size.status: 40000");
    expect(() => query.write(view, 0, { nr_frames: 1, dom: 1.5 })).toThrow("gnttab_query_size.dom: takes an integer");
    expect(() => query.write(view, 0, { nr_frames: 1, nothing: 1 } as never)).toThrow("has no field nothing");
    expect(() =>
      layout("start_info", "x86_64").write(new DataView(new ArrayBuffer(4096)), 0, { magic: "x".repeat(33) }),
    ).toThrow("33 characters do not fit into 32 bytes");
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });

  test("read and write refuse a structure that does not fit into the view", () => {
    const trap = layout("trap_info", "x86_64");
    const view = new DataView(new ArrayBuffer(trap.size));
    expect(() => trap.read(view, 1)).toThrow("16 bytes of trap_info at 1 are outside a view of 16");
    expect(() => trap.read(view, -1)).toThrow("outside");
    expect(() => trap.write(view, 1, { vector: 3 })).toThrow("outside");
  });

  test("a structure that an ABI lacks, or nobody knows, is refused by name", () => {
    expect(() => layout("iret_context", "x86_32")).toThrow("iret_context does not exist in x86_32");
    expect(() => layout("nothing" as StructName, "x86_64")).toThrow("no structure is named nothing");
    expect(() => layout("toString" as StructName, "x86_64")).toThrow("no structure is named toString");
  });

  test("types follow the ABI", () => {
    expectTypeOf<StructValue<"shared_info", "x86_64">["wc_sec_hi"]>().toEqualTypeOf<number>();
    expectTypeOf<StructValue<"shared_info", "x86_32">>().not.toHaveProperty("wc_sec_hi");
    expectTypeOf<StructValue<"cpu_user_regs", "x86_64">["rip"]>().toEqualTypeOf<bigint>();
    expectTypeOf<StructValue<"cpu_user_regs", "x86_32">["eip"]>().toEqualTypeOf<number>();
    expectTypeOf<StructValue<"multicall_entry">["args"]>().toEqualTypeOf<bigint[]>();
  });
});

describe("a frame number above 2^53", () => {
  test("is read as a number that is still larger than any frame", () => {
    const { read, size } = layout("evtchn_expand_array", "x86_64");
    const view = new DataView(new ArrayBuffer(size));
    view.setBigUint64(0, 0xffffffffffffffffn, true);
    expect(read(view, 0).array_gfn).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
  });
});

describe.each(ABIS)("in %s", (abi) => {
  test("decoding and encoding give back every byte of every structure but its padding", () => {
    // Text ends at its first NUL and frames above 2^53 are rounded: both are left to tests of their own.
    const lossless = structNames(abi).filter((name) => {
      const value = layout(name, abi).read(new DataView(new ArrayBuffer(layout(name, abi).size)), 0);
      const hasText = (part: unknown): boolean =>
        typeof part === "string" ||
        (typeof part === "object" &&
          part !== null &&
          !(part instanceof Uint8Array) &&
          Object.values(part).some(hasText));
      return !hasText(value);
    });
    expect(lossless.length).toBeGreaterThan(100);
    fc.assert(
      fc.property(fc.constantFrom(...lossless), fc.infiniteStream(fc.integer({ min: 0, max: 255 })), (name, stream) => {
        const { size, read, write } = layout(name, abi);
        const before = Uint8Array.from({ length: size }, () => stream.next().value as number);
        for (const field of describeFields(name, abi)) {
          if (field.type === "frame" || field.type === "frame64")
            before.fill(0, field.offset + 6, field.offset + field.size);
          if (field.path.endsWith("gdt_frames")) before.fill(0, field.offset, field.offset + field.size);
        }
        const value = read(new DataView(before.buffer), 0) as never;
        // What is written over zeros and over ones alike is a field; the rest is padding.
        const onZeros = new Uint8Array(size);
        const onOnes = new Uint8Array(size).fill(0xff);
        write(new DataView(onZeros.buffer), 0, value);
        write(new DataView(onOnes.buffer), 0, value);
        for (let at = 0; at < size; at++) if (onZeros[at] === onOnes[at]) expect(onZeros[at]).toBe(before[at]);
        expect(read(new DataView(onOnes.buffer), 0)).toEqual(value);
      }),
      { numRuns: 300 },
    );
  });
});
