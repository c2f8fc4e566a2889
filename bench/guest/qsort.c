#include "bench.h"
#define N 1000000
static int a[N];
static void qs(int *p, int n) {
  while (n > 12) {
    int m = p[n / 2], i = 0, j = n - 1;
    while (i <= j) {
      while (p[i] < m)
        i++;
      while (p[j] > m)
        j--;
      if (i <= j) {
        int x = p[i];
        p[i] = p[j];
        p[j] = x;
        i++;
        j--;
      }
    }
    if (j + 1 < n - i) {
      qs(p, j + 1);
      p += i;
      n -= i;
    } else {
      qs(p + i, n - i);
      n = j + 1;
    }
  }
  for (int i = 1; i < n; i++) {
    int x = p[i], j = i;
    while (j > 0 && p[j - 1] > x) {
      p[j] = p[j - 1];
      j--;
    }
    p[j] = x;
  }
}
int main(int c, char **v) {
  init(c, v);
  long it = scaled(10);
  uint64_t ck = 0;
  double s = 0;
  for (long r = 0; r < it; r++) {
    for (int i = 0; i < N; i++)
      a[i] = rnd();
    double t = now();
    qs(a, N);
    s += now() - t;
    ck = ck * 31 + a[r] + a[N - 1 - r];
  }
  report("qsort", s, ck, (double)it * N);
}
