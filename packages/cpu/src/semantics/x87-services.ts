import type { Definition } from "../definition.ts";
import { begin, faultIfPending } from "./x87-state.ts";

/** Functions of registers, executed by the services of the same names. */
const FUNCTIONS = ["f2xm1", "fyl2x", "fyl2xp1", "fpatan", "fsin", "fcos", "fsincos", "fptan"];
/** Memory operands that services read and write. */
const WAITING = ["fbld", "fbstp", "fldenv", "frstor"];
const NOT_WAITING = ["fnstenv", "fnsave"];

function inJavaScript(names: readonly string[], prepare: (c: Parameters<Definition["emit"]>[0]) => void): Definition[] {
  return names.map((name) => ({
    name,
    shapes: ["*"],
    access: "",
    emit(c) {
      prepare(c);
      c.service();
    },
  }));
}

/** What JavaScript executes: transcendental functions, packed decimals, the environment as a whole. */
export const x87ServiceDefinitions: readonly Definition[] = [
  ...inJavaScript(FUNCTIONS, begin),
  ...inJavaScript(WAITING, faultIfPending),
  ...inJavaScript(NOT_WAITING, () => {}),
];
