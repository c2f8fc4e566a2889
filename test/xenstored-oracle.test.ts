import { test } from "vitest";
import { expectAgreement } from "./xenstored-oracle/agreement.ts";

test("whatever three domains ask, our store and C xenstored tell them the same", async () => {
  await expectAgreement({ numRuns: 200, seed: 1 });
});
