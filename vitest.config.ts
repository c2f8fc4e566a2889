import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { conditions: ["@paravirt/source"] },
  ssr: { resolve: { conditions: ["@paravirt/source"], externalConditions: ["@paravirt/source"] } },
  test: {
    include: ["packages/*/src/**/*.test.ts", "test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
  },
});
