#include "bench.h"
#include <math.h>
typedef struct {
  double x, y, z, vx, vy, vz, m;
} B;
static B b[5];
int main(int c, char **v) {
  init(c, v);
  for (int i = 0; i < 5; i++) {
    b[i] = (B){i * 1.3 + .1, i * .7 - 1, i * .21, .01 * i, .02 * (4 - i), .003 * i, 1.0 / (i + 1)};
  }
  long it = scaled(1000000);
  double t = now();
  for (long r = 0; r < it; r++) {
    for (int i = 0; i < 5; i++)
      for (int j = i + 1; j < 5; j++) {
        double dx = b[i].x - b[j].x, dy = b[i].y - b[j].y, dz = b[i].z - b[j].z, q = dx * dx + dy * dy + dz * dz,
               m = .001 / (q * sqrt(q));
        b[i].vx -= dx * b[j].m * m;
        b[i].vy -= dy * b[j].m * m;
        b[i].vz -= dz * b[j].m * m;
        b[j].vx += dx * b[i].m * m;
        b[j].vy += dy * b[i].m * m;
        b[j].vz += dz * b[i].m * m;
      }
    for (int i = 0; i < 5; i++) {
      b[i].x += .001 * b[i].vx;
      b[i].y += .001 * b[i].vy;
      b[i].z += .001 * b[i].vz;
    }
  }
  uint64_t ck;
  memcpy(&ck, &b[0].x, 8);
  report("nbody", now() - t, ck, (double)it * 10);
}
