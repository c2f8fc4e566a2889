// The rows of the benchmark, in the order of the table, and the means over groups of them.

/** Programs of bench/guest and, with `t_`, busybox's own tools (guest/rows.sh says what they do). */
export const ROWS = [
  ...["sieve", "crc32", "matmul_int", "matmul_dbl", "fib", "qsort", "memcpy", "copyloop", "chase", "tlb", "mix64"],
  ...["div", "sha256", "interp", "fnptr", "nbody", "x87", "printf", "sse2int", "repmovs", "smc", "syscall"],
  ...["forkexec", "pipe", "pagefault", "signal", "t_sha256", "t_gzip", "t_bzip2", "t_awk", "t_sort"],
];

/** Measured in boots of their own: to /init of a small initramfs, and to the first output of a kernel of a few kilobytes. */
export const BOOTS = ["boot", "start"];

/** The program whose cost is that of starting one; it is taken off every row, for each engine its own. */
export const START = "empty";

/** Geometric means: those of `means` in the JSON answer, then the further ones. */
export const MEANS = {
  compute:
    "sieve crc32 matmul_int matmul_dbl fib qsort mix64 div sha256 interp fnptr nbody copyloop t_sha256 t_gzip t_bzip2 t_sort".split(
      " ",
    ),
  kernel: ["syscall", "forkexec", "pipe", "pagefault", "signal"],
};

/** Means over kinds of work that emulators find hard. */
export const GROUPS = {
  "doubles, SSE2": ["matmul_dbl", "nbody", "sse2int"],
  "rep movs, rewritten code": ["repmovs", "smc"],
  "x87, printf": ["x87", "printf"],
  all: ROWS,
};

/** The geometric mean of `engine`'s slowdowns over those of `names` that were measured; `null` when none was. */
export function mean(rows, engine, names) {
  const values = names.map((name) => rows[name]?.[engine]?.slowdown).filter((value) => value > 0);
  if (values.length === 0) return null;
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** The middle of some numbers. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/**
 * A row's result without what differs between runs. Programs print `name seconds checksum units`; tools print their
 * own result.
 */
export function checksumOf(name, output) {
  const words = output.trim().split(/\s+/);
  return words[0] === name && words.length === 4 ? words[2] : words.join(" ");
}
