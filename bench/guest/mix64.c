#include "bench.h"
int main(int c, char **v) {
  init(c, v);
  uint64_t x = 88172645463325252ull, h = 0;
  long it = scaled(60000000);
  double t = now();
  for (long i = 0; i < it; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    h = (h ^ x) * 0x9E3779B97F4A7C15ull;
    h = (h << 31) | (h >> 33);
  }
  report("mix64", now() - t, h, it);
}
