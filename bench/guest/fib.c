#include "bench.h"
__attribute__((noinline, optimize("no-optimize-sibling-calls", "no-inline"))) static uint32_t fib(uint32_t n) {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
int main(int c, char **v) {
  init(c, v);
  uint64_t ck = 0;
  long it = scaled(40);
  double t = now();
  for (long i = 0; i < it; i++) {
    ck = ck * 31 + fib(28);
  }
  report("fib", now() - t, ck, (double)it * 1028457);
}
