import { defineConfig } from "tsup";

/** One build for every package: ESM, source maps, types unless `--no-dts` is given. */
export default defineConfig({
  entry: ["src/index.ts"],
  format: "esm",
  target: "es2022",
  platform: "neutral",
  sourcemap: true,
  clean: true,
  dts: true,
  external: [/^node:/, /^@paravirt\//],
});
