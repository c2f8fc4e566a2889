import { expect, test } from "vitest";
import { debianOptions } from "./debian-options.ts";
import type { DeviceRequest } from "./devices/device-request.ts";
import { openDevices } from "./devices/device-request.ts";
import { guestOptions } from "./guest-options.ts";
import { parseArguments } from "./options.ts";

const read = (...words: string[]) => guestOptions(parseArguments(["run", "debian", ...words]), 256);
const request = (kind: DeviceRequest["kind"], more: Partial<DeviceRequest> = {}): DeviceRequest => ({
  kind,
  open: () => Promise.reject(new Error("not opened")),
  ...more,
});
const readDebian = (words: string[], devices: readonly DeviceRequest[] = []) =>
  debianOptions(parseArguments(["run", "debian", ...words]), { devices }, { HOME: "/home/me", EMPTY: "" });

test.each([
  ["512", 512],
  ["512m", 512],
  ["512MiB", 512],
  ["1g", 1024],
  ["2G", 2048],
  ["131072k", 128],
])("--memory %s is %i MiB", (text, memory) => {
  expect(read("--memory", text).memory).toBe(memory);
});

test.each(["0", "9g", "1.5g", "512x", "m", "1023k"])("--memory %s is refused", (text) => {
  expect(() => read("--memory", text)).toThrow(`--memory ${text}: 1 to`);
});

test.each([
  [["--cpus", "2"], 2, 0],
  [["--cpus", "1.5"], 2, 150],
  [["--cpus", ".25"], 1, 25],
  [["--cpus", "1", "--vcpus", "4"], 4, 100],
  [["--vcpus", "3"], 3, 0],
])("%j is %i virtual processors and a limit of %i percent", (words, vcpus, cap) => {
  expect(read(...words)).toMatchObject({ vcpus, cap });
});

test.each([
  ["90", 90],
  ["1.5s", 1.5],
  ["2m", 120],
  ["1h", 3600],
])("--timeout %s is %d seconds", (text, timeout) => {
  expect(read("--timeout", text).timeout).toBe(timeout);
});

test.each(["0", "1d", "x", "-1"])("--timeout %s is refused", (text) => {
  expect(() => read(`--timeout=${text}`)).toThrow("--timeout");
});

test("--env takes a value, or this machine's, and leaves out what this machine doesn't have", () => {
  const words = ["--env", "A=1=2", "--env", "HOME", "--env", "EMPTY", "--env", "MISSING", "--env", "B=", "--", "env"];
  expect(readDebian(words).env).toEqual({ A: "1=2", HOME: "/home/me", EMPTY: "", B: "" });
  expect(() => readDebian(["--env", "9=1", "--", "env"])).toThrow("--env 9=1");
});

test("a command starts in the one shared folder unless --workdir says otherwise", () => {
  const share = request("share", { share: { tag: "src" } });
  const other = request("share", { share: { tag: "out" } });
  expect(readDebian(["--", "make"], [share]).workdir).toBe("/mnt/src");
  expect(readDebian(["--", "make"], [share, other]).workdir).toBeUndefined();
  expect(readDebian(["--workdir", "/tmp", "--", "make"], [share]).workdir).toBe("/tmp");
  expect(() => readDebian(["--workdir", "tmp", "--", "make"])).toThrow("starts with /");
});

test("a disk boots by itself unless there is a command or another root", () => {
  const disk = request("disk");
  expect(readDebian([], [disk])).toMatchObject({ root: "auto", bootsDisk: true });
  expect(readDebian(["--", "ls"], [disk])).toMatchObject({ root: "auto", bootsDisk: false });
  expect(readDebian(["--root", "none"], [disk])).toMatchObject({ root: "none", bootsDisk: false });
  expect(readDebian(["--root", "/dev/xvdb1"], [disk])).toMatchObject({ root: "/dev/xvdb1", bootsDisk: true });
  expect(readDebian([])).toMatchObject({ root: "none", bootsDisk: false });
  expect(() => readDebian(["--root", "auto"])).toThrow("--root auto needs a --disk");
  expect(() => readDebian(["--root", "xvda"], [disk])).toThrow("auto, none or a disk");
  expect(() => readDebian(["--env", "A=1"], [disk])).toThrow("--env is for a command");
});

test("when one device can't be opened, those before it are closed again", async () => {
  const closed: string[] = [];
  const works = request("disk", {
    open: async () => ({ device: { type: "vbd" } as never, close: () => void closed.push("first") }),
  });
  await expect(openDevices([works, request("network")])).rejects.toThrow("not opened");
  expect(closed).toEqual(["first"]);
});
