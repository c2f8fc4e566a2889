#include "bench.h"
#define N (1 << 20)
struct n {
  struct n *next;
  char pad[64 - sizeof(void *)];
};
int main(int c, char **v) {
  init(c, v);
  struct n *a = aligned_alloc(64, (size_t)N * 64);
  uint32_t *p = malloc(N * 4);
  for (int i = 0; i < N; i++)
    p[i] = i;
  for (int i = N - 1; i > 0; i--) {
    uint32_t j = rnd() % i;
    uint32_t x = p[i];
    p[i] = p[j];
    p[j] = x;
  }
  for (int i = 0; i < N; i++)
    a[i].next = &a[p[i]];
  long it = scaled(4000000);
  struct n *q = a;
  double t = now();
  for (long i = 0; i < it; i++)
    q = q->next;
  report("chase", now() - t, (uint64_t)(q - a), it);
}
