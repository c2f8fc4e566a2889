#include "bench.h"
int main(int c, char **v) {
  init(c, v);
  long it = scaled(200000);
  char b[256];
  uint64_t ck = 0;
  double t = now();
  for (long i = 0; i < it; i++) {
    int n = snprintf(b, sizeof b, "%ld %.15g %.6e %Lf", i, i * 1.2345678901, 1.0 / (i + 1), (long double)i / 3);
    ck = ck * 31 + b[n - 1] + n;
  }
  report("printf", now() - t, ck, it);
}
