import { expect, test } from "vitest";
import { blockDeviceName, blockDeviceNumber } from "./device-number.ts";

test.each([
  ["xvda", 51712],
  ["xvda1", 51713],
  ["xvdb", 51728],
  ["xvdp15", 51967],
  ["xvdq", 268439552],
  ["xvda16", 268435472],
  ["xvdaa", 268442112],
])("%s is %i", (name, number) => {
  expect(blockDeviceNumber(name)).toBe(number);
});

test("names count on from z to aa", () => {
  const names = Array.from({ length: 60 }, (_, index) => blockDeviceName(index));
  expect([names[0], names[25], names[26], names[52]]).toEqual(["xvda", "xvdz", "xvdaa", "xvdba"]);
  const numbers = names.map(blockDeviceNumber);
  expect(new Set(numbers).size).toBe(60);
});

test.each(["", "xvd", "sda", "xvda0", "xvda256", "xvdA", "xvdaaaaa", "xvda1p1"])("%j is no device", (name) => {
  expect(() => blockDeviceNumber(name)).toThrow(expect.objectContaining({ code: "BAD_ARGUMENT" }));
});
