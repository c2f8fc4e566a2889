import fc from "fast-check";
import { expect, test } from "vitest";
import { type Console, createConsole } from "./index.ts";
import { INPUT_RING, OUTPUT_RING } from "./ring.ts";

/** A guest's driver of `struct xencons_interface`, written from io/console.h and not from our backend. */
function createGuest(start = 0) {
  const page = new Uint8Array(4096);
  const view = new DataView(page.buffer);
  for (const at of [3072, 3076, 3080, 3084]) view.setUint32(at, start, true);
  const guest = {
    page,
    view,
    notified: 0,
    notify: () => {
      guest.notified++;
    },
    /** Puts as many bytes as fit, as xencons does, and answers how many. */
    print(bytes: Uint8Array): number {
      const consumer = view.getUint32(3080, true);
      let producer = view.getUint32(3084, true);
      let sent = 0;
      while (sent < bytes.length && (producer - consumer) >>> 0 < 2048) {
        page[1024 + (producer & 2047)] = bytes[sent++]!;
        producer = (producer + 1) >>> 0;
      }
      view.setUint32(3084, producer, true);
      return sent;
    },
    /** Takes everything that the host typed. */
    type(limit = 1024): Uint8Array {
      let consumer = view.getUint32(3072, true);
      const producer = view.getUint32(3076, true);
      const taken: number[] = [];
      while (consumer !== producer && taken.length < limit) {
        taken.push(page[consumer & 1023]!);
        consumer = (consumer + 1) >>> 0;
      }
      view.setUint32(3072, consumer, true);
      return Uint8Array.from(taken);
    },
  };
  return guest;
}

function listen(guest: ReturnType<typeof createGuest>) {
  const printed: number[] = [];
  const broken: string[] = [];
  const console: Console = createConsole({
    page: guest.page,
    notify: guest.notify,
    onOutput: (bytes) => printed.push(...bytes),
    onBroken: (reason) => broken.push(reason),
  });
  return { console, printed, broken };
}

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

test("the rings lie where io/console.h puts them", () => {
  expect(INPUT_RING).toEqual({ data: 0, size: 1024, consumer: 3072, producer: 3076 });
  expect(OUTPUT_RING).toEqual({ data: 1024, size: 2048, consumer: 3080, producer: 3084 });
});

test("what the guest writes comes out at once, the room is given back and the guest told", () => {
  const guest = createGuest();
  const { console, printed } = listen(guest);
  guest.print(bytes("hello\r\n"));
  console.event();
  expect(printed).toEqual([...bytes("hello\r\n")]);
  expect(guest.view.getUint32(3080, true)).toBe(7);
  expect(guest.notified).toBe(1);
});

test("what stood in the ring before the backend came is printed first", () => {
  const guest = createGuest();
  guest.print(bytes("early"));
  expect(listen(guest).printed).toEqual([...bytes("early")]);
});

test("an event with nothing to do doesn't wake the guest", () => {
  const guest = createGuest();
  listen(guest).console.event();
  expect(guest.notified).toBe(0);
});

test("a guest that fills the ring and waits gets on: 100 kB come out in order", () => {
  const guest = createGuest(0xffff_ff00);
  const { console, printed } = listen(guest);
  const text = Uint8Array.from({ length: 100_000 }, (_, at) => at & 0xff);
  for (let sent = 0; sent < text.length; console.event()) sent += guest.print(text.subarray(sent));
  expect(printed).toEqual([...text]);
});

test("input goes in as far as there is room, the rest when the guest took some, and then the write resolves", async () => {
  const guest = createGuest(0xffff_ff00);
  const { console } = listen(guest);
  const typed = Uint8Array.from({ length: 2500 }, (_, at) => at % 251);
  let resolved = false;
  const written = console.write(typed).then(() => {
    resolved = true;
  });
  expect(console.pendingInput).toBe(2500 - 1024);
  const taken = [...guest.type()];
  await Promise.resolve();
  expect(resolved).toBe(false);
  console.event();
  taken.push(...guest.type());
  console.event();
  taken.push(...guest.type());
  await written;
  expect(taken).toEqual([...typed]);
  expect(console.pendingInput).toBe(0);
});

test("a caller may change its buffer after write returned", async () => {
  const guest = createGuest();
  const { console } = listen(guest);
  await console.write(new Uint8Array(1024));
  const buffer = bytes("abc");
  void console.write(buffer);
  buffer.fill(0);
  guest.type();
  console.event();
  expect(guest.type()).toEqual(bytes("abc"));
});

test("held output stays in the ring until it may flow again", () => {
  const guest = createGuest();
  const { console, printed } = listen(guest);
  console.hold();
  expect(guest.print(new Uint8Array(3000))).toBe(2048);
  console.event();
  expect(printed.length).toBe(0);
  expect(guest.print(new Uint8Array(1))).toBe(0);
  console.resume();
  expect(printed.length).toBe(2048);
});

test.each([
  ["output producer", 3084, 2049, "the output ring's indices are more than 2048 apart"],
  ["output producer behind", 3084, 0xffff_ffff, "the output ring's indices are more than 2048 apart"],
])("a hostile %s closes the console and prints nothing", (_name, at, value, reason) => {
  const guest = createGuest();
  const { console, printed, broken } = listen(guest);
  guest.view.setUint32(at, value, true);
  console.event();
  console.event();
  expect(printed).toEqual([]);
  expect(broken).toEqual([reason]);
  expect(console.closed).toBe(true);
});

test("a hostile input consumer closes the console and lets writers go", async () => {
  const guest = createGuest();
  const { console, broken } = listen(guest);
  guest.view.setUint32(3072, 5, true);
  await console.write(bytes("x"));
  expect(broken).toEqual(["the input ring's indices are more than 1024 apart"]);
  expect([...guest.page.subarray(0, 1024)].every((byte) => byte === 0)).toBe(true);
});

test("a guest that rewrites the backend's own indices changes nothing", () => {
  const guest = createGuest();
  const { console, printed } = listen(guest);
  guest.print(bytes("one"));
  console.event();
  guest.view.setUint32(3080, 0x1234, true);
  guest.view.setUint32(3076, 0x1234, true);
  guest.view.setUint32(3084, 3, true);
  console.event();
  expect(printed).toEqual([...bytes("one")]);
});

test("close prints the rest, resolves pending writes, and the page is left alone from then on", async () => {
  const guest = createGuest();
  const { console, printed } = listen(guest);
  const pending = console.write(new Uint8Array(2000));
  console.hold();
  guest.print(bytes("last words"));
  console.close();
  await pending;
  expect(printed).toEqual([...bytes("last words")]);
  const before = guest.page.slice();
  await console.write(bytes("x"));
  console.event();
  expect(guest.page).toEqual(before);
});

test("a page that is too small is refused with both sizes", () => {
  expect(() => createConsole({ page: new Uint8Array(100), notify() {}, onOutput() {} })).toThrow(
    "a console page has 4096 bytes, not 100",
  );
});

test("whatever a guest writes into the page, every call ends and nothing outside the rings is printed", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(4095), fc.nat(255)), { maxLength: 64, size: "max" }), (writes) => {
      const guest = createGuest();
      let longest = 0;
      const console = createConsole({
        page: guest.page,
        notify: guest.notify,
        onOutput: (piece) => {
          longest = Math.max(longest, piece.length);
        },
      });
      for (const [at, value] of writes) {
        guest.page[at] = value;
        console.event();
        void console.write(Uint8Array.of(value));
      }
      expect(longest).toBeLessThanOrEqual(2048);
      expect(
        [...guest.page.subarray(3088)].every((byte, at) => byte === 0 || writes.some(([to]) => to === 3088 + at)),
      ).toBe(true);
    }),
  );
});

test("input and output in any interleaving arrive whole and in order", () => {
  fc.assert(
    fc.property(
      fc.nat(0xffff_ffff),
      fc.array(fc.tuple(fc.boolean(), fc.nat(3000)), { maxLength: 20, size: "max" }),
      (start, steps) => {
        const guest = createGuest(start);
        const { console, printed } = listen(guest);
        const said: number[] = [];
        const typed: number[] = [];
        const taken: number[] = [];
        let next = 0;
        for (const [input, length] of steps) {
          const piece = Uint8Array.from({ length }, () => next++ & 0xff);
          if (input) {
            typed.push(...piece);
            void console.write(piece);
            taken.push(...guest.type(length % 700));
          } else {
            said.push(...piece.subarray(0, guest.print(piece)));
          }
          console.event();
        }
        while (console.pendingInput > 0) {
          taken.push(...guest.type());
          console.event();
        }
        taken.push(...guest.type());
        expect(printed).toEqual(said);
        expect(taken).toEqual(typed);
      },
    ),
    { numRuns: 50 },
  );
});
