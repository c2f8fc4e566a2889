import { expect, test } from "vitest";
import { isParavirtError, ParavirtError } from "./index.ts";

test("an error keeps its code and cause, and is recognised whichever copy of the library made it", () => {
  const cause = new Error("disk");
  const error = new ParavirtError("UNAVAILABLE", "no apt on this machine", { cause });
  expect([error.code, error.message, error.cause, error.name]).toEqual([
    "UNAVAILABLE",
    "no apt on this machine",
    cause,
    "ParavirtError",
  ]);
  expect(isParavirtError(error)).toBe(true);
  const foreign = Object.assign(new Error("x"), { name: "ParavirtError", code: "BUG" });
  expect(isParavirtError(foreign)).toBe(true);
  expect(isParavirtError(new Error("x"))).toBe(false);
  expect(isParavirtError({ name: "ParavirtError", code: "BUG" })).toBe(false);
});
