// Writes docs/hypercalls.md from the hypercall table of the built @paravirt/hypervisor.
// Run it after `npm run build:js -w @paravirt/hypervisor`; a test fails while the document is out of date.
import { writeFile } from "node:fs/promises";
import { renderHypercalls } from "../packages/hypervisor/dist/index.js";

const target = new URL("../docs/hypercalls.md", import.meta.url);
await writeFile(target, renderHypercalls());
