import { test } from "vitest";
import { expectAgreement } from "../xenstored-oracle/agreement.ts";

// The seed is in the message of a failure, with the shortest dialogue that shows it.
test("our store and C xenstored tell three domains the same in ten thousand new dialogues", async () => {
  await expectAgreement({ numRuns: 10_000, seed: Date.now() | 0 });
});
