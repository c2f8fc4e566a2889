#include "bench.h"
int main(int c, char **v) {
  init(c, v);
  long it = scaled(30000000);
  uint32_t s = 0;
  volatile uint32_t vd = 7;
  uint32_t d = vd;
  double t = now();
  for (long i = 1; i <= it; i++) {
    s += ((uint32_t)i * 2654435761u) / d + ((uint32_t)i ^ s) % (d + 13);
    d = (d + s) | 1;
    d &= 0xffff;
  }
  report("div", now() - t, s, it);
}
