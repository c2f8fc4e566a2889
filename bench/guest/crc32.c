#include "bench.h"
static uint32_t T[256];
static uint8_t b[1 << 20];
int main(int c, char **v) {
  init(c, v);
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t x = i;
    for (int k = 0; k < 8; k++)
      x = x & 1 ? (x >> 1) ^ 0xedb88320u : x >> 1;
    T[i] = x;
  }
  for (size_t i = 0; i < sizeof b; i++)
    b[i] = rnd();
  long it = scaled(256);
  double t = now();
  uint32_t x = ~0u;
  for (long r = 0; r < it; r++)
    for (size_t i = 0; i < sizeof b; i++)
      x = T[(x ^ b[i]) & 255] ^ (x >> 8);
  report("crc32", now() - t, ~x, (double)it * sizeof b);
}
