import { startXenstoreDaemon } from "@paravirt/host-node";
import type { ParsedArguments } from "../options.ts";
import { STATUS } from "../status.ts";
import { UsageError } from "../usage-error.ts";
import { writeOut } from "../write-out.ts";

const ENDINGS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
/** The file that keeps the store can't be written. */
const STATUS_DB_FAILED = 1;

/** `paravirt xenstored`: serves until a signal ends it. */
export async function xenstored({ options }: ParsedArguments): Promise<number> {
  const socket = options.get("socket");
  const db = options.get("db");
  if (socket === undefined || socket === "") throw new UsageError("xenstored needs a place to listen: --socket PATH");
  if (db === "") throw new UsageError("--db needs a file");
  let end: (status: number) => void = () => {};
  const ended = new Promise<number>((resolve) => {
    end = resolve;
  });
  const onSignal = (): void => end(STATUS.OK);
  for (const signal of ENDINGS) process.on(signal, onSignal);
  try {
    const daemon = await startXenstoreDaemon({
      socket,
      ...(db === undefined ? {} : { db }),
      onError(error) {
        process.stderr.write(`paravirt: ${error.message}\n`);
        end(STATUS_DB_FAILED);
      },
    });
    if (daemon.unfinished > 0) {
      process.stderr.write(`paravirt: ${db}: dropped ${daemon.unfinished} bytes of a write that was never finished\n`);
    }
    await writeOut(`listening on ${socket}\n`);
    const status = await ended;
    await daemon.close();
    return status;
  } finally {
    for (const signal of ENDINGS) process.off(signal, onSignal);
  }
}
