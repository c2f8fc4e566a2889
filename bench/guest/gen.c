// Fixed pseudo text: gen BYTES (stdout), or gen -l LINES for sort input.
#include "bench.h"
int main(int c, char **v) {
  static const char *W[] = {"the",   "kernel",      "page", "frame", "event", "channel", "domain", "grant", "table",
                            "of",    "memory",      "and",  "io",    "ring",  "block",   "net",    "xen",   "store",
                            "watch", "transaction", "to",   "in",    "is",    "was",     "not"};
  if (c > 2) {
    long n = atol(v[2]);
    for (long i = 0; i < n; i++)
      printf("%08x %s %u\n", rnd(), W[rnd() % 25], rnd() % 100000);
    return 0;
  }
  long n = atol(v[1]);
  long o = 0;
  while (o < n) {
    char b[64];
    int k = (rnd() % 9 == 0) ? sprintf(b, "%u\n", rnd() % 1000000) : sprintf(b, "%s ", W[rnd() % 25]);
    if (o + k > n)
      k = n - o;
    fwrite(b, 1, k, stdout);
    o += k;
  }
}
