#include "bench.h"
#include <signal.h>
static volatile long n;
static void h(int s) {
  (void)s;
  n++;
}
int main(int c, char **v) {
  init(c, v);
  signal(SIGUSR1, h);
  long it = scaled(200000);
  double t = now();
  for (long i = 0; i < it; i++)
    raise(SIGUSR1);
  report("signal", now() - t, n, it);
}
