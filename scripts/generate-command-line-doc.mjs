// Writes docs/command-line.md from the option table; needs the built packages.
import { writeFileSync } from "node:fs";
import { renderCommandLine } from "paravirt";

writeFileSync(new URL("../docs/command-line.md", import.meta.url), renderCommandLine());
