#include "bench.h"
// A small bytecode machine: one indirect jump per guest op.
int main(int c, char **v) {
  init(c, v);
  static const uint8_t code[] = {0, 1, 2, 3, 4, 1, 5, 2, 6, 0, 3, 1, 4, 2, 5, 6, 7};
  long it = scaled(4000000);
  uint32_t a = 1, b = 2, d = 3;
  long n = 0;
  static void *const L[] = {&&o0, &&o1, &&o2, &&o3, &&o4, &&o5, &&o6, &&o7};
  const uint8_t *pc = code;
  double t = now();
#define NX goto *L[*pc++]
  NX;
o0:
  a += b;
  NX;
o1:
  b ^= a << 3;
  NX;
o2:
  d -= b;
  NX;
o3:
  a = (a >> 5) | (a << 27);
  NX;
o4:
  b += d * 3;
  NX;
o5:
  d ^= a;
  NX;
o6:
  a -= d;
  NX;
o7:
  pc = code;
  if (++n < it)
    NX;
  report("interp", now() - t, a ^ b ^ d, (double)it * 17);
}
