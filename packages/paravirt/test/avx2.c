/*
 * AVX2, FMA, F16C and what glibc chooses for them: what it prints in a guest must be what it prints outside. Built by
 * avx2.test.ts with gcc -mavx2 -mfma -mf16c -static. A signal handler runs in the middle of vectors, threads change places.
 */
#define _GNU_SOURCE
#include <immintrin.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t hash(const void *bytes, size_t length) {
  uint64_t value = 0xcbf29ce484222325u;
  for (size_t i = 0; i < length; i++) value = (value ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
  return value;
}

static void show(const char *name, const void *bytes, size_t length) {
  printf("%s %016" PRIx64 "\n", name, hash(bytes, length));
}

static double a[64][64], b[64][64], product[64][64];
static float singles[1024];
static uint16_t halves[1024];
static int32_t table[1024], indices[1024];

static void numbers(void) {
  for (int i = 0; i < 64; i++)
    for (int j = 0; j < 64; j++) {
      a[i][j] = i * 0.37 + j * 1.1;
      b[i][j] = 1.0 / (1 + i + 2 * j);
    }
  for (int i = 0; i < 64; i++)
    for (int j = 0; j < 64; j += 4) {
      __m256d sum = _mm256_setzero_pd();
      for (int k = 0; k < 64; k++) sum = _mm256_fmadd_pd(_mm256_set1_pd(a[i][k]), _mm256_loadu_pd(&b[k][j]), sum);
      _mm256_storeu_pd(&product[i][j], sum);
    }
  show("fma", product, sizeof product);
  for (int i = 0; i < 1024; i++) singles[i] = (float)i * 0.713f - 300;
  for (int i = 0; i < 1024; i += 8) {
    __m128i narrow = _mm256_cvtps_ph(_mm256_loadu_ps(singles + i), 0);
    _mm_storeu_si128((__m128i *)(halves + i), narrow);
    __m256 value = _mm256_cvtph_ps(narrow);
    value = _mm256_fnmadd_ps(value, value, _mm256_set1_ps(90000));
    _mm256_storeu_ps(singles + i, _mm256_sqrt_ps(_mm256_max_ps(value, _mm256_setzero_ps())));
  }
  show("halves", halves, sizeof halves);
  show("singles", singles, sizeof singles);
}

static void integers(void) {
  for (int i = 0; i < 1024; i++) {
    table[i] = (int32_t)((uint32_t)i * 2654435761u);
    indices[i] = (i * 37) & 1023;
  }
  __m256i sum = _mm256_setzero_si256();
  const __m256i turn = _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 0);
  for (int round = 0; round < 20; round++)
    for (int i = 0; i < 1024; i += 8) {
      __m256i gathered = _mm256_i32gather_epi32(table, _mm256_loadu_si256((const __m256i *)(indices + i)), 4);
      sum = _mm256_add_epi32(sum, _mm256_xor_si256(gathered, _mm256_slli_epi32(sum, 3)));
      sum = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(sum, gathered), turn);
    }
  show("gather", &sum, sizeof sum);
  int32_t stored[16] = {0};
  const __m256i mask = _mm256_setr_epi32(-1, 0, -1, 0, 0, -1, 0, -1);
  _mm256_maskstore_epi32(stored + 3, mask, sum);
  __m256i loaded = _mm256_maskload_epi32(stored + 5, mask);
  show("stored", stored, sizeof stored);
  show("loaded", &loaded, sizeof loaded);
}

static void strings(void) {
  char *first = malloc(5001), *second = malloc(5001);
  unsigned long total = 0;
  for (int i = 0; i < 5000; i++) first[i] = (char)('a' + i % 23);
  first[5000] = 0;
  for (int offset = 0; offset < 70; offset++) {
    memcpy(second, first, 5001);
    second[4000 + offset] = '#';
    total = total * 31 + strlen(first + offset) + (size_t)(strchr(second + offset, '#') - second);
    total = total * 31 + (memcmp(first, second, 5000) > 0) + (strcmp(first + offset, second + offset) > 0) * 2;
    total = total * 31 + (size_t)((char *)memrchr(second, 'b', 4000) - second) + strspn(first, "abcdef");
    memmove(second + offset, second, 3000);
    memset(second + 17, offset, (size_t)offset);
    total ^= hash(second, 5000);
  }
  printf("strings %lu\n", total);
}

static volatile sig_atomic_t caught;
static void disturb(int number) {
  caught = number;
  __asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n\tvmovdqa %%ymm0, %%ymm9\n\tvzeroupper" ::: "xmm0", "xmm9");
}

static void signals(void) {
  uint64_t before[4] = {1, 2, 3, 4}, after[4];
  signal(SIGUSR1, disturb);
  __asm__ volatile("vmovdqu %1, %%ymm9\n\tsyscall\n\tvmovdqu %%ymm9, %0"
                   : "=m"(after)
                   : "m"(before), "a"(62L), "D"((long)getpid()), "S"((long)SIGUSR1)
                   : "rcx", "r11", "memory", "xmm9");
  printf("signal %d kept %d\n", caught == SIGUSR1, memcmp(before, after, sizeof before) == 0);
}

static void *spin(void *argument) {
  long number = (long)argument;
  __m256i value = _mm256_set1_epi64x(number), wanted = _mm256_set1_epi64x(number + 400000);
  for (int i = 0; i < 400000; i++) {
    value = _mm256_add_epi64(value, _mm256_set1_epi64x(1));
    __asm__ volatile("" : "+x"(value));
  }
  return (void *)(long)(_mm256_movemask_epi8(_mm256_cmpeq_epi64(value, wanted)) == -1);
}

static void threads(void) {
  pthread_t all[4];
  long right = 0;
  for (long i = 0; i < 4; i++) pthread_create(&all[i], 0, spin, (void *)(i * 1000003));
  for (int i = 0; i < 4; i++) {
    void *answer;
    pthread_join(all[i], &answer);
    right += (long)answer;
  }
  printf("threads %ld\n", right);
}

int main(void) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 77;
  numbers();
  integers();
  strings();
  signals();
  threads();
  double sum = 0;
  for (int i = 1; i < 500; i++) sum += sin(i * 0.1) + exp(-i * 0.01) + pow(i, 0.3) + log(i) + tan(i) + atan(i * 0.2);
  printf("libm %.17g\n", sum);
  return 3;
}
