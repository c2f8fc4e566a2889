#include "bench.h"
#define N 4000000
static uint8_t s[N + 1];
int main(int c, char **v) {
  init(c, v);
  long it = scaled(10);
  double t = now();
  uint64_t ck = 0, u = 0;
  for (long r = 0; r < it; r++) {
    memset(s, 1, sizeof s);
    for (uint32_t i = 2; i * i <= N; i++)
      if (s[i])
        for (uint32_t j = i * i; j <= N; j += i) {
          s[j] = 0;
          u++;
        }
    uint32_t n = 0;
    for (uint32_t i = 2; i <= N; i++)
      n += s[i];
    ck = ck * 31 + n;
  }
  report("sieve", now() - t, ck, (double)u);
}
