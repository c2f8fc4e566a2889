#include "bench.h"
#include <emmintrin.h>
static __m128i a[4096], b[4096];
int main(int c, char **v) {
  init(c, v);
  uint32_t *p = (uint32_t *)a, *q = (uint32_t *)b;
  for (int i = 0; i < 16384; i++) {
    p[i] = rnd();
    q[i] = rnd();
  }
  long it = scaled(5000);
  __m128i s = _mm_setzero_si128();
  double t = now();
  for (long r = 0; r < it; r++)
    for (int i = 0; i < 4096; i++) {
      __m128i x = a[i], y = b[i];
      x = _mm_add_epi32(x, y);
      y = _mm_madd_epi16(x, y);
      x = _mm_unpacklo_epi8(x, y);
      s = _mm_xor_si128(s, _mm_sub_epi16(_mm_shuffle_epi32(x, 0x1b), _mm_srli_epi32(y, 3)));
      __m128i m = _mm_cmpgt_epi32(s, x);
      s = _mm_add_epi32(s, m);
    }
  uint32_t o[4];
  _mm_storeu_si128((__m128i *)o, s);
  report("sse2int", now() - t, o[0] ^ o[1] ^ o[2] ^ o[3], (double)it * 4096);
}
