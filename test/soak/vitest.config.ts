import { defineConfig } from "vitest/config";

/** `npm run soak`: what takes too long for `npm test`, one file after another. */
export default defineConfig({
  root: new URL("../..", import.meta.url).pathname,
  resolve: { conditions: ["@paravirt/source"] },
  ssr: { resolve: { conditions: ["@paravirt/source"], externalConditions: ["@paravirt/source"] } },
  test: {
    include: ["test/soak/**/*.soak.ts"],
    testTimeout: 1_800_000,
    hookTimeout: 300_000,
    maxWorkers: 1,
    fileParallelism: false,
  },
});
