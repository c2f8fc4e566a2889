// Common frame: each program prints "name seconds checksum units".
// argv[1] = scale in percent of the default work (default 100).
#include <stdio.h>
#include <stdlib.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}
static double SCALE = 1.0;
static long scaled(long n) {
  long r = (long)(n * SCALE + 0.5);
  return r < 1 ? 1 : r;
}
static void init(int c, char **v) {
  if (c > 1)
    SCALE = atof(v[1]) / 100.0;
}
static void report(const char *n, double s, uint64_t ck, double units) {
  printf("%s %.6f %llx %.0f\n", n, s, (unsigned long long)ck, units);
  fflush(stdout);
}
static uint32_t rs = 12345;
static inline uint32_t rnd(void) {
  rs ^= rs << 13;
  rs ^= rs >> 17;
  rs ^= rs << 5;
  return rs;
}
