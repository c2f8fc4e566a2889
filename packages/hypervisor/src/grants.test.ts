import { DOMID, GNTMAP, GNTST, GNTTABOP, GTF, HYPERVISOR, layout, type StructName } from "@paravirt/xen-abi";
import { beforeEach, describe, expect, test } from "vitest";
import { ARGUMENTS, at, FakeGuest, testHypervisor } from "../test/fake-guest.ts";
import { type GrantMapping, mapGrant } from "./index.ts";

let guest: FakeGuest;
const TABLE = 24;

function op(
  who: FakeGuest,
  command: number,
  name: StructName,
  fields: object,
  count = 1,
): { result: number; after: Record<string, unknown> } {
  const shape = layout(name, "x86_64");
  who.put(new Uint8Array(128));
  shape.write(who.view(ARGUMENTS), 0, fields as never);
  const result = Number(who.call(HYPERVISOR.grant_table_op, command, at(ARGUMENTS), count));
  return { result, after: shape.read(who.view(ARGUMENTS), 0) as Record<string, unknown> };
}

/** Maps the guest's table at pfn TABLE, as a guest does with the frames of setup_table. */
function mapTable(who = guest): DataView {
  const { after } = op(who, GNTTABOP.setup_table, "gnttab_setup_table", {
    dom: DOMID.SELF,
    nr_frames: 1,
    frame_list: at(ARGUMENTS, 64),
  });
  expect(after.status).toBe(0);
  const mfn = Number(who.view(ARGUMENTS).getBigUint64(64, true));
  expect(who.call(HYPERVISOR.update_va_mapping, at(TABLE), (BigInt(mfn) << 12n) | 0x67n, 0)).toBe(0n);
  const machine = who.cpu.translate(at(TABLE), true);
  return new DataView(who.hypervisor.memory.bytes.buffer, machine, 4096);
}

function grant(table: DataView, ref: number, to: number, mfn: number, flags: number = GTF.permit_access): void {
  table.setUint16(ref * 8 + 2, to, true);
  table.setUint32(ref * 8 + 4, mfn, true);
  table.setUint16(ref * 8, flags, true);
}

beforeEach(() => {
  guest = new FakeGuest(testHypervisor());
});

describe("the table", () => {
  test("begins with one frame of 64, version 1", () => {
    expect(op(guest, GNTTABOP.query_size, "gnttab_query_size", { dom: DOMID.SELF }).after).toMatchObject({
      nr_frames: 1,
      max_nr_frames: 64,
      status: 0,
    });
    expect(op(guest, GNTTABOP.get_version, "gnttab_get_version", { dom: DOMID.SELF }).after.version).toBe(1);
    expect(op(guest, GNTTABOP.set_version, "gnttab_set_version", { version: 3 }).result).toBe(-22);
  });

  test("other domains' tables, and too many frames, get the status that Xen gives", () => {
    const status = (fields: object): unknown =>
      op(guest, GNTTABOP.setup_table, "gnttab_setup_table", {
        dom: DOMID.SELF,
        nr_frames: 1,
        frame_list: at(ARGUMENTS, 64),
        ...fields,
      }).after.status;
    expect(status({ dom: 99 })).toBe(GNTST.bad_domain);
    expect(status({ dom: new FakeGuest(guest.hypervisor).domain.id })).toBe(GNTST.permission_denied);
    expect(status({ nr_frames: 65 })).toBe(GNTST.general_error);
    expect(status({ frame_list: 0x1000n })).toBe(GNTST.bad_virt_addr);
    expect(op(guest, GNTTABOP.setup_table, "gnttab_setup_table", { dom: DOMID.SELF }, 2).result).toBe(-22);
    expect(status({ nr_frames: 4 })).toBe(0);
    expect(guest.domain.grants.frames.length).toBe(4);
  });

  test("the toolstack's entries survive a change of version", () => {
    guest.domain.grants.seed(1, 0, guest.frames[5] as number);
    expect(op(guest, GNTTABOP.set_version, "gnttab_set_version", { version: 2 }).result).toBe(0);
    const mapping = mapGrant(guest.domain, 1) as GrantMapping;
    expect(mapping.bytes.byteOffset).toBe((guest.frames[5] as number) * 4096);
    mapping.release();
    expect(
      op(guest, GNTTABOP.get_status_frames, "gnttab_get_status_frames", {
        dom: DOMID.SELF,
        nr_frames: 1,
        frame_list: at(ARGUMENTS, 64),
      }).after.status,
    ).toBe(0);
    expect(op(guest, GNTTABOP.set_version, "gnttab_set_version", { version: 1 }).result).toBe(0);
    expect(typeof mapGrant(guest.domain, 1)).toBe("object");
  });
});

describe("a backend's mapping", () => {
  test("is a view of the guest's page, and marks the entry while it lasts", () => {
    const table = mapTable();
    grant(table, 9, 0, guest.frames[30] as number);
    const mapping = mapGrant(guest.domain, 9) as GrantMapping;
    mapping.bytes[7] = 0xab;
    expect(guest.page(30)[7]).toBe(0xab);
    expect(table.getUint16(72, true)).toBe(GTF.permit_access | GTF.reading | GTF.writing);
    const second = mapGrant(guest.domain, 9, { readOnly: true }) as GrantMapping;
    mapping.release();
    mapping.release();
    expect(table.getUint16(72, true)).toBe(GTF.permit_access | GTF.reading);
    second.release();
    expect(table.getUint16(72, true)).toBe(GTF.permit_access);
    expect(guest.domain.grants.mapped).toBe(0);
  });

  test.each([
    ["an entry that is not there", (table: DataView) => void table, 9, GNTST.general_error],
    ["a reference past the table", (table: DataView) => void table, 512, GNTST.bad_gntref],
    [
      "an entry for another domain",
      (table: DataView) => grant(table, 9, 5, guest.frames[30] as number),
      9,
      GNTST.general_error,
    ],
    [
      "a read-only entry, for writing",
      (table: DataView) => grant(table, 9, 0, guest.frames[30] as number, GTF.permit_access | GTF.readonly),
      9,
      GNTST.general_error,
    ],
    ["a frame that isn't the guest's", (table: DataView) => grant(table, 9, 0, 1), 9, GNTST.general_error],
    ["a page table, for writing", (table: DataView) => grant(table, 9, 0, guest.l1), 9, GNTST.general_error],
  ])("%s is refused", (_name, prepare, ref, status) => {
    prepare(mapTable());
    expect(mapGrant(guest.domain, ref)).toBe(status);
    expect(guest.domain.grants.mapped).toBe(0);
  });
});

describe("between guests", () => {
  test("map_grant_ref puts the page into the other's address space, unmap takes it out", () => {
    const other = new FakeGuest(guest.hypervisor);
    grant(mapTable(), 9, other.domain.id, guest.frames[30] as number);
    guest.page(30)[0] = 0x5a;
    const { after } = op(other, GNTTABOP.map_grant_ref, "gnttab_map_grant_ref", {
      host_addr: at(33),
      flags: GNTMAP.host_map | GNTMAP.application_map,
      ref: 9,
      dom: guest.domain.id,
    });
    expect(after.status).toBe(0);
    expect(other.cpu.translate(at(33), true)).toBe((guest.frames[30] as number) * 4096);
    expect(guest.hypervisor.paging.mayReachForeign(other.domain.id, guest.frames[30] as number, true)).toBe(true);
    const unmap = { host_addr: at(33), handle: after.handle };
    expect(op(other, GNTTABOP.unmap_grant_ref, "gnttab_unmap_grant_ref", unmap).after.status).toBe(0);
    expect(op(other, GNTTABOP.unmap_grant_ref, "gnttab_unmap_grant_ref", unmap).after.status).toBe(GNTST.bad_handle);
    expect(other.cpu.translate(at(33), false)).toBe(0);
    expect(guest.hypervisor.paging.mayReachForeign(other.domain.id, guest.frames[30] as number, false)).toBe(false);
    expect(guest.domain.grants.mapped).toBe(0);
  });

  test("copy moves bytes between a grant and an own page, within pages only", () => {
    const other = new FakeGuest(guest.hypervisor);
    grant(mapTable(), 9, other.domain.id, guest.frames[30] as number, GTF.permit_access | GTF.readonly);
    guest.page(30).set([1, 2, 3, 4], 100);
    const copy = (fields: object): unknown =>
      op(other, GNTTABOP.copy, "gnttab_copy", {
        source: { u: { ref: 9 }, domid: guest.domain.id, offset: 100 },
        dest: { u: { gmfn: other.frames[31] }, domid: DOMID.SELF, offset: 8 },
        len: 4,
        flags: 1,
        ...fields,
      }).after.status;
    expect(copy({})).toBe(0);
    expect([...other.page(31).subarray(8, 12)]).toEqual([1, 2, 3, 4]);
    expect(copy({ len: 4000 })).toBe(GNTST.bad_copy_arg);
    expect(copy({ dest: { u: { gmfn: guest.frames[31] }, domid: DOMID.SELF, offset: 0 } })).toBe(GNTST.bad_page);
    expect(copy({ source: { u: { ref: 9 }, domid: 99, offset: 0 } })).toBe(GNTST.bad_domain);
    expect(copy({ flags: 0 })).toBe(GNTST.permission_denied);
    expect(guest.domain.grants.mapped).toBe(0);
  });

  test("a domain that goes lets go of what it had mapped", () => {
    const other = new FakeGuest(guest.hypervisor);
    grant(mapTable(), 9, other.domain.id, guest.frames[30] as number);
    op(other, GNTTABOP.map_grant_ref, "gnttab_map_grant_ref", {
      host_addr: at(33),
      flags: GNTMAP.host_map,
      ref: 9,
      dom: guest.domain.id,
    });
    expect(guest.domain.grants.mapped).toBe(1);
    guest.hypervisor.destroyDomain(other.domain);
    expect(guest.domain.grants.mapped).toBe(0);
    expect(guest.hypervisor.paging.domain(other.domain.id)).toBeUndefined();
  });

  test("a domain that goes leaves what others have mapped of it until they let go", () => {
    const other = new FakeGuest(guest.hypervisor);
    const table = mapTable();
    grant(table, 9, other.domain.id, guest.frames[30] as number);
    grant(table, 10, 0, guest.frames[31] as number);
    guest.page(30)[0] = 0x5a;
    const request = {
      host_addr: at(33),
      flags: GNTMAP.host_map | GNTMAP.application_map,
      ref: 9,
      dom: guest.domain.id,
    };
    const { handle } = op(other, GNTTABOP.map_grant_ref, "gnttab_map_grant_ref", request).after;
    const mapping = mapGrant(guest.domain, 10) as GrantMapping;
    const { id } = guest.domain;
    guest.hypervisor.destroyDomain(guest.domain);
    expect(guest.hypervisor.paging.domain(id)).toBeDefined();
    const machine = other.cpu.translate(at(33), true);
    expect(guest.hypervisor.memory.bytes[machine]).toBe(0x5a);
    expect(
      op(other, GNTTABOP.unmap_grant_ref, "gnttab_unmap_grant_ref", { host_addr: at(33), handle }).after.status,
    ).toBe(0);
    mapping.release();
    expect(guest.hypervisor.paging.domain(id)).toBeUndefined();
  });
});
