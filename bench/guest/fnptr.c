#include "bench.h"
#define F(n, e)                                                                                                        \
  __attribute__((noinline)) static uint32_t n(uint32_t x) {                                                            \
    return e;                                                                                                          \
  }
F(f0, x + 1)
F(f1, x * 3)
F(f2, x ^ 0x55)
F(f3, (x >> 3) + 7)
F(f4, x - 9)
F(f5, x << 1)
F(f6, ~x)
F(f7, x * x)

int main(int c, char **v) {
  init(c, v);
  uint32_t (*volatile T[8])(uint32_t) = {f0, f1, f2, f3, f4, f5, f6, f7};
  long it = scaled(40000000);
  uint32_t x = 1;
  double t = now();
  for (long i = 0; i < it; i++)
    x = T[(x ^ i) & 7](x);
  report("fnptr", now() - t, x, it);
}
