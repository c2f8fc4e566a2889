#!/usr/bin/env node
import { main } from "../dist/index.js";

// A reader that went away ends the program as it ends others, with the status of SIGPIPE.
for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error) => {
    if (error.code === "EPIPE") process.exit(141);
    throw error;
  });

process.exit(await main(process.argv.slice(2)));
