/**
 * XXH64 of `bytes[start..end)` with seed 0, as two unsigned halves `[low, high]`: zstd's content checksum is the low one.
 * 64-bit products are made of 32-bit ones, since BigInt is some fifty times slower.
 */
export function xxhash64(bytes: Uint8Array, start = 0, end: number = bytes.length): readonly [number, number] {
  let at = start;
  let low: number;
  let high: number;
  if (end - start >= 32) {
    // Four lanes of two words; they stay in a small array that V8 keeps in one cache line.
    const lanes = new Int32Array(8);
    setLane(lanes, 0, P1L, P1H);
    addLane(lanes, 0, P2L, P2H);
    setLane(lanes, 1, P2L, P2H);
    setLane(lanes, 2, 0, 0);
    // 0 - prime 1
    setLane(lanes, 3, -P1L | 0, (~P1H + (P1L === 0 ? 1 : 0)) | 0);
    while (at + 32 <= end) {
      for (let lane = 0; lane < 4; lane++, at += 8) {
        const x = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
        const y = bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24);
        round(lanes[lane * 2]!, lanes[lane * 2 + 1]!, x, y);
        lanes[lane * 2] = resultLow;
        lanes[lane * 2 + 1] = resultHigh;
      }
    }
    low = 0;
    high = 0;
    for (let lane = 0; lane < 4; lane++) {
      rotate(lanes[lane * 2]!, lanes[lane * 2 + 1]!, [1, 7, 12, 18][lane]!);
      add(low, high, resultLow, resultHigh);
      low = resultLow;
      high = resultHigh;
    }
    for (let lane = 0; lane < 4; lane++) {
      round(0, 0, lanes[lane * 2]!, lanes[lane * 2 + 1]!);
      multiply(low ^ resultLow, high ^ resultHigh, P1L, P1H);
      add(resultLow, resultHigh, P4L, P4H);
      low = resultLow;
      high = resultHigh;
    }
  } else {
    low = P5L;
    high = P5H;
  }
  add(low, high, (end - start) | 0, Math.floor((end - start) / 2 ** 32));
  low = resultLow;
  high = resultHigh;
  for (; at + 8 <= end; at += 8) {
    const x = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    const y = bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24);
    round(0, 0, x, y);
    rotate(low ^ resultLow, high ^ resultHigh, 27);
    multiply(resultLow, resultHigh, P1L, P1H);
    add(resultLow, resultHigh, P4L, P4H);
    low = resultLow;
    high = resultHigh;
  }
  if (at + 4 <= end) {
    const x = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    multiply(x, 0, P1L, P1H);
    rotate(low ^ resultLow, high ^ resultHigh, 23);
    multiply(resultLow, resultHigh, P2L, P2H);
    add(resultLow, resultHigh, P3L, P3H);
    low = resultLow;
    high = resultHigh;
    at += 4;
  }
  for (; at < end; at++) {
    multiply(bytes[at]!, 0, P5L, P5H);
    rotate(low ^ resultLow, high ^ resultHigh, 11);
    multiply(resultLow, resultHigh, P1L, P1H);
    low = resultLow;
    high = resultHigh;
  }
  // Avalanche: xor with itself shifted right by 33, 29 and 32, with products between.
  low ^= high >>> 1;
  multiply(low, high, P2L, P2H);
  low = resultLow ^ ((resultLow >>> 29) | (resultHigh << 3));
  high = resultHigh ^ (resultHigh >>> 29);
  multiply(low, high, P3L, P3H);
  return [(resultLow ^ resultHigh) >>> 0, resultHigh >>> 0];
}

const P1L = 0x85ebca87 | 0;
const P1H = 0x9e3779b1 | 0;
const P2L = 0x27d4eb4f | 0;
const P2H = 0xc2b2ae3d | 0;
const P3L = 0x9e3779f9 | 0;
const P3H = 0x165667b1 | 0;
const P4L = 0xc2b2ae63 | 0;
const P4H = 0x85ebca77 | 0;
const P5L = 0x165667c5 | 0;
const P5H = 0x27d4eb2f | 0;

// The last helper's result, in two words: an object for each would cost more than the arithmetic.
let resultLow = 0;
let resultHigh = 0;

function multiply(aLow: number, aHigh: number, bLow: number, bHigh: number): void {
  const a0 = aLow & 0xffff;
  const a1 = aLow >>> 16;
  const b0 = bLow & 0xffff;
  const b1 = bLow >>> 16;
  const low = Math.imul(a0, b0);
  const middle = Math.imul(a1, b0);
  const other = Math.imul(a0, b1);
  // Carries of the low product's middle column, each term below 2^17.
  const carry = (low >>> 16) + (middle & 0xffff) + (other & 0xffff);
  resultLow = ((carry & 0xffff) << 16) | (low & 0xffff);
  resultHigh =
    (Math.imul(a1, b1) +
      (middle >>> 16) +
      (other >>> 16) +
      (carry >>> 16) +
      Math.imul(aLow, bHigh) +
      Math.imul(aHigh, bLow)) |
    0;
}

function add(aLow: number, aHigh: number, bLow: number, bHigh: number): void {
  const sum = (aLow >>> 0) + (bLow >>> 0);
  resultLow = sum | 0;
  resultHigh = (aHigh + bHigh + (sum > 0xffffffff ? 1 : 0)) | 0;
}

function rotate(low: number, high: number, by: number): void {
  resultLow = (low << by) | (high >>> (32 - by));
  resultHigh = (high << by) | (low >>> (32 - by));
}

/** One round: `(accumulator + input × prime 2)` rotated by 31, times prime 1. */
function round(accLow: number, accHigh: number, low: number, high: number): void {
  multiply(low, high, P2L, P2H);
  add(accLow, accHigh, resultLow, resultHigh);
  rotate(resultLow, resultHigh, 31);
  multiply(resultLow, resultHigh, P1L, P1H);
}

function setLane(lanes: Int32Array, lane: number, low: number, high: number): void {
  lanes[lane * 2] = low;
  lanes[lane * 2 + 1] = high;
}

function addLane(lanes: Int32Array, lane: number, low: number, high: number): void {
  add(lanes[lane * 2]!, lanes[lane * 2 + 1]!, low, high);
  setLane(lanes, lane, resultLow, resultHigh);
}
