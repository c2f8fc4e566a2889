#include "bench.h"
#define P (16384)
int main(int c, char **v) {
  init(c, v);
  volatile uint32_t *a = aligned_alloc(4096, (size_t)P * 4096);
  for (int i = 0; i < P; i++)
    a[i * 1024] = i;
  long it = scaled(300);
  uint64_t ck = 0;
  double t = now();
  for (long r = 0; r < it; r++)
    for (int i = 0; i < P; i++)
      ck += a[(size_t)i * 1024 + (i & 15) * 16];
  report("tlb", now() - t, ck, (double)it * P);
}
