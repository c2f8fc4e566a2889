#include "bench.h"
#define N (1 << 18)
static uint32_t a[N], b[N];
int main(int c, char **v) {
  init(c, v);
  for (int i = 0; i < N; i++)
    a[i] = rnd();
  long it = scaled(500);
  double t = now();
  for (long r = 0; r < it; r++) {
    for (int i = 0; i < N; i++) {
      b[i] = a[i];
      __asm__ volatile("" ::: "memory");
    }
  }
  report("copyloop", now() - t, b[77], (double)it * N * 4);
}
