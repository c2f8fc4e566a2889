/** Writes to standard output and waits until it has gone. A reader that went away ends the process quietly. */
export function writeOut(data: string | Uint8Array): Promise<void> {
  if (data.length === 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    process.stdout.write(data, (error) => {
      if (error == null) resolve();
      else if ((error as NodeJS.ErrnoException).code === "EPIPE") process.exit(BROKEN_PIPE);
      else reject(error);
    });
  });
}

/** What a shell shows for a program that SIGPIPE ended. */
export const BROKEN_PIPE = 141;
