/** What `earlyprintk=xen` puts before each piece of text. */
const EARLY = "(early) ";
/** A line of the kernel's log as the console shows it: seconds since its start in brackets. */
const KERNEL_LINE = /^(\(early\) |\[ *[0-9]+\.[0-9]+\])/;
/** Enough of a line to tell; the kernel pads seconds to five places and writes six decimals. */
const DECIDING = 24;

/**
 * Watches a Linux console for the first output that isn't the kernel's own log, which is `/init`'s. Answers whether
 * `bytes` contains it or follows it.
 */
export function createInitWatch(): (bytes: Uint8Array) => boolean {
  let line = "";
  let skipping = false;
  let seen = false;
  return (bytes) => {
    for (let at = 0; at < bytes.length && !seen; at++) {
      const character = String.fromCharCode(bytes[at]!);
      if (character === "\n") {
        // A short line in brackets, or the rest of a kernel line.
        seen = !skipping && line !== "" && !KERNEL_LINE.test(line);
        line = "";
        skipping = false;
      } else if (!skipping && character !== "\r") {
        line += character;
        if (KERNEL_LINE.test(line)) skipping = true;
        else seen = !mayBeKernels(line) || line.length >= DECIDING;
      }
    }
    return seen;
  };
}

function mayBeKernels(start: string): boolean {
  return start.startsWith("[") || EARLY.startsWith(start);
}
