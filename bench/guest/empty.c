#include "bench.h"
int main(int c, char **v) {
  init(c, v);
  double t = now();
  report("empty", now() - t, 0, 1);
}
