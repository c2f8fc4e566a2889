#include "bench.h"
#define N 256
static double a[N][N], b[N][N], d[N][N];
int main(int c, char **v) {
  init(c, v);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      a[i][j] = rnd() & 255;
      b[i][j] = rnd() & 255;
    }
  long it = scaled(20);
  double t = now();
  uint64_t ck = 0;
  for (long r = 0; r < it; r++) {
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        double s = 0;
        for (int k = 0; k < N; k++)
          s += a[i][k] * b[k][j];
        d[i][j] = s;
      }
    a[r % N][0] += 1;
    ck = ck * 31 + (uint64_t)d[r % N][7];
  }
  report("matmul_dbl", now() - t, ck, (double)it * N * N * N);
}
