#include "bench.h"
#define N (1 << 16)
static char a[N], b[N];
int main(int c, char **v) {
  init(c, v);
  for (int i = 0; i < N; i++)
    a[i] = i;
  long it = scaled(40000);
  double t = now();
  for (long r = 0; r < it; r++) {
    void *d = b, *s = a;
    size_t n = N;
    a[r % N] ^= 1;
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n)::"memory");
  }
  report("repmovs", now() - t, b[3] + b[N - 1], (double)it * N);
}
