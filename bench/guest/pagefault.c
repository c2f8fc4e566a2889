#include "bench.h"
#include <sys/mman.h>
int main(int c, char **v) {
  init(c, v);
  long it = scaled(200000);
  uint64_t ck = 0;
  double t = now();
  for (long i = 0; i < it; i++) {
    volatile char *p = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p[0] = 1;
    ck += p[0];
    munmap((void *)p, 4096);
  }
  report("pagefault", now() - t, ck, it);
}
