import fc from "fast-check";
import { expect, test } from "vitest";
import { formatMac, generateMac, parseMac } from "./index.ts";

test("generated addresses are in Xen's range as xl takes it, the same for a seed, others for others", () => {
  expect(generateMac("web/0")).toBe(generateMac("web/0"));
  const made = new Set<string>();
  for (let domain = 0; domain < 1000; domain++)
    for (let card = 0; card < 2; card++) made.add(generateMac(`guest-${domain}/${card}`));
  for (const mac of made) expect(mac).toMatch(/^00:16:3e:[0-7][0-9a-f](:[0-9a-f]{2}){2}$/);
  // Of 2000 in 2^23 the birthday paradox lets less than one meet another; a few may.
  expect(made.size).toBeGreaterThan(1995);
});

test("addresses are read and written alike, in either case, with colons or dashes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
      bytes[0]! &= 0xfe;
      const text = formatMac(bytes);
      expect([...parseMac(text)]).toEqual([...bytes]);
      expect([...parseMac(text.toUpperCase().replaceAll(":", "-"))]).toEqual([...bytes]);
    }),
  );
});
