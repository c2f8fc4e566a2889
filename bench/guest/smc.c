#include "bench.h"
#include <sys/mman.h>
// Writes a function, calls it 100 times, rewrites it: the life of a guest JIT.
int main(int c, char **v) {
  init(c, v);
  uint8_t *p = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  long it = scaled(20000);
  uint64_t ck = 0;
  double t = now();
  for (long r = 0; r < it; r++) {
    uint8_t *q = p;
    *q++ = 0xb8;
    uint32_t x = r * 7;
    memcpy(q, &x, 4);
    q += 4;
    for (int i = 0; i < 20; i++) {
      *q++ = 0x05;
      x = i + r;
      memcpy(q, &x, 4);
      q += 4;
    }
    *q++ = 0xc3;
    uint32_t (*f)(void) = (void *)p;
    for (int i = 0; i < 100; i++)
      ck += f();
  }
  report("smc", now() - t, ck, it);
}
