const UNITS = { k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** A unit of {@link parseSize}. */
export type SizeUnit = "k" | "m" | "g" | "t";

/**
 * Bytes from a number with a unit: `512m`, `1g`, `1GiB`, `2t`; without one it counts `unit`s. `undefined` for anything
 * else. Units are powers of 1024, as container tools and qemu-img have them.
 */
export function parseSize(text: string, unit: SizeUnit): number | undefined {
  const match = /^([0-9]+)(?:([kmgt])(?:i?b)?)?$/i.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * UNITS[(match[2]?.toLowerCase() ?? unit) as SizeUnit];
}
