import { fileSink } from "@paravirt/host-node";
import type { ConsoleChoice } from "./guest-options.ts";
import { writeOut } from "./write-out.ts";

/** Where a plain console's output goes. */
export interface ConsoleOutput {
  write(bytes: Uint8Array): void | Promise<void>;
  close(): Promise<void>;
}

/** Opens what `--console` names; files are made at once, so that a wrong path is an error before the guest starts. */
export function openConsole(choice: ConsoleChoice): ConsoleOutput {
  if (choice.kind === "stdio") return { write: writeOut, close: async () => {} };
  if (choice.kind === "none") return { write: () => {}, close: async () => {} };
  const sink = fileSink(choice.path);
  return {
    write: (bytes) => (sink.write(bytes) ? undefined : sink.flush()),
    close: () => sink.close(),
  };
}
