#include "bench.h"
int main(int c, char **v) {
  init(c, v);
  long it = scaled(20000000);
  long double x = 1.0L, s = 0;
  double t = now();
  for (long i = 0; i < it; i++) {
    x = x * 1.0000001L + 0.5L / (x + 1.0L);
    s += x * x - (long double)i;
    if (x > 1e6L)
      x = 1;
  }
  double d = (double)s;
  uint64_t ck;
  memcpy(&ck, &d, 8);
  report("x87", now() - t, ck, it);
}
