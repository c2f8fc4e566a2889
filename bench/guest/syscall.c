#include "bench.h"
#include <sys/syscall.h>
int main(int c, char **v) {
  init(c, v);
  long it = scaled(1000000);
  uint64_t ck = 0;
  double t = now();
  for (long i = 0; i < it; i++)
    ck += syscall(SYS_getppid) > 0;
  report("syscall", now() - t, ck, it);
}
