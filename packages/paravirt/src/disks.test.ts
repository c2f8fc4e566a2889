import { describe, expect, test } from "vitest";
import { diskRequests, parseDisk } from "./devices/disks.ts";
import { UsageError } from "./usage-error.ts";

describe("--disk", () => {
  test("a path, and what follows it", () => {
    expect(parseDisk("a.img")).toEqual({ source: "a.img", readOnly: false, overlay: false, cdrom: false });
    expect(parseDisk("/x/b.qcow2,format=qcow2,overlay,dev=/dev/xvdc")).toEqual({
      source: "/x/b.qcow2",
      format: "qcow2",
      readOnly: false,
      overlay: true,
      cdrom: false,
      name: "xvdc",
    });
    expect(parseDisk("nbd://host:10809/name,ro")).toMatchObject({ source: "nbd://host:10809/name", readOnly: true });
    expect(parseDisk("c.iso,cdrom")).toMatchObject({ cdrom: true, readOnly: true });
  });

  test.each([
    ["", "a path comes first"],
    [",ro", "a path comes first"],
    ["a,format=vmdk", "vmdk is no format"],
    ["a,rw", '"rw" isn\'t known'],
    ["a,dev=sda", "dev=sda"],
    ["a,dev=xvda300", "dev=xvda300"],
    ["a,cdrom,overlay", "never written"],
  ])("%s is refused", (text, message) => {
    expect(() => parseDisk(text)).toThrow(UsageError);
    expect(() => parseDisk(text)).toThrow(message);
  });

  test("a name may be given to one disk only", () => {
    const lists = new Map([["disk", ["a,dev=xvdb", "b,dev=xvdb"]]]);
    expect(() => diskRequests({ lists })).toThrow("two disks are to be xvdb");
    expect(diskRequests({ lists: new Map() })).toEqual([]);
  });
});
