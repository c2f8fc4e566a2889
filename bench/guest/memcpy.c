#include "bench.h"
#define N (64 << 20)
int main(int c, char **v) {
  init(c, v);
  char *a = malloc(N), *b = malloc(N);
  memset(a, 1, N);
  memset(b, 2, N);
  long it = scaled(20);
  double t = now();
  for (long r = 0; r < it; r++) {
    a[r] = r;
    memcpy(b, a, N);
    __asm__ volatile("" ::: "memory");
  }
  report("memcpy", now() - t, b[5] + b[N - 1], (double)it * N);
}
