import { mkdir } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build, type Plugin } from "esbuild";
import { defineConfig } from "tsup";
import shared from "../../tsup.config.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Makes the interpreter's module from the sources and puts it in the place of `src/tier0/prebuilt.ts`. */
const prebuiltTier0: Plugin = {
  name: "prebuilt-tier0",
  setup({ onLoad }) {
    onLoad({ filter: /tier0[\\/]prebuilt\.ts$/ }, async () => {
      const outfile = here("../../node_modules/.cache/tier0/load.mjs");
      await mkdir(here("../../node_modules/.cache/tier0"), { recursive: true });
      await build({
        entryPoints: [here("src/tier0/load.ts")],
        outfile,
        bundle: true,
        format: "esm",
        platform: "neutral",
        conditions: ["@paravirt/source"],
      });
      const { prebuildTier0 } = await import(pathToFileURL(outfile).href);
      const made = prebuildTier0((bytes: Uint8Array) => Buffer.from(bytes).toString("base64"));
      return { contents: `export const PREBUILT = ${JSON.stringify(made)};`, loader: "js" };
    });
  },
};

export default defineConfig({ ...shared, esbuildPlugins: [prebuiltTier0] });
