import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileSystemContract } from "../../p9/test/contract.ts";
import { openHostFolder } from "./host-folder.ts";

fileSystemContract("host folder", () => {
  const folder = mkdtempSync(join(tmpdir(), "paravirt-share-"));
  const fileSystem = openHostFolder(folder);
  return {
    fileSystem,
    owners: process.getuid?.() === 0,
    specials: false,
    extended: false,
    close() {
      fileSystem.close();
      rmSync(folder, { recursive: true });
    },
  };
});
