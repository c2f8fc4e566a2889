/*
 * A 32-bit program for a guest of a 64-bit kernel: what it prints must be what it prints outside. Built by compat32.test.ts with
 * gcc -m32 -static. Nothing it prints depends on the machine, time or addresses chosen by the kernel.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static sigjmp_buf after_fault;
static __thread int local = 5;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long counter;

static void note(int number) { caught = number; }

static void report(int number, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  printf("  signal %d, code %d, trap %d, error %d\n", number, info->si_code, registers[REG_TRAPNO], registers[REG_ERR]);
  siglongjmp(after_fault, 1);
}

/* Executes assembly that faults, and prints the signal that came of it. */
#define FAULT(code) \
  do { puts(code); if (!sigsetjmp(after_fault, 1)) __asm__ volatile(code ::: "eax", "ecx", "edx", "memory"); } while (0)

static void *count(void *start) {
  local += (int)(intptr_t)start;
  for (int i = 0; i < 5000; i++) {
    local++;
    pthread_mutex_lock(&mutex);
    counter++;
    pthread_mutex_unlock(&mutex);
  }
  return (void *)(intptr_t)local;
}

static long int80(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
  return result;
}

static uint32_t checksum(const uint8_t *bytes, size_t size) {
  uint32_t crc = ~0u;
  while (size--) {
    crc ^= *bytes++;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static void arithmetic(void) {
  volatile long long big = -7123456789012LL;
  volatile double x = 0;
  volatile float f = 0;
  for (int i = 1; i < 1000; i++) x += sin(i) * sqrt(i) / log(i + 1), f += 1.0f / i;
  printf("%lld %llu %.12g %.9g %La %.20Lg\n", big / 37, 0xffffffffffffffffULL % 1000003, x, f, expl(1.25L), powl(3.3L, 7.7L));
  unsigned sum, ascii, carry;
  __asm__("movl $0x99,%%eax; addl $0x11,%%eax; daa; movl %%eax,%0" : "=m"(sum)::"eax", "cc");
  __asm__("movl $0x35,%%eax; addb $8,%%al; aaa; movl %%eax,%0" : "=m"(ascii)::"eax", "cc");
  __asm__("stc; .byte 0xd6; movsbl %%al,%0" : "=r"(carry)::"eax", "cc"); /* salc */
  __asm__ volatile("pusha; popa; pushf; popf; enter $16,$2; leave; push %ds; pop %ds");
  printf("%x %x %x\n", sum, ascii, carry);
  uint64_t wide;
  __asm__ volatile("lcall $0x33,$1f; jmp 2f; 1: .byte 0x48,0xb8; .quad 0x123456789abcdef0; .byte 0x48,0xc1,0xc0,0x10;"
                   "movl %%eax,%%edx; .byte 0x48,0xc1,0xe8,0x20; xchg %%eax,%%edx; lret; 2:" : "=A"(wide)::"memory");
  printf("64-bit code: %llx\n", wide);
}

static void memory(void) {
  uint32_t *table = malloc(1 << 18), seed = 1;
  for (int i = 0; i < 1 << 16; i++) table[i] = seed = seed * 1664525 + 1013904223;
  printf("%08x", checksum((uint8_t *)table, 1 << 18));
  qsort(table, 1 << 14, 4, ascending);
  uint8_t *copy = malloc(1 << 18);
  memcpy(copy, table, 1 << 18);
  memmove(copy + 3, copy, 100000);
  printf(" %08x %d %d\n", checksum(copy, 1 << 18), memcmp(copy + 3, table, 1000) < 0, (int)strlen(strcpy((char *)copy, "32 bits")));
  /* Negative indices: base and index wrap at 4 GiB. */
  uint32_t total = 0;
  for (int i = -1000; i < 0; i++) __asm__("addl (%1,%2,4),%0" : "+r"(total) : "r"(table + 2000), "r"(i));
  uint8_t *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(code, "\x8b\x44\x24\x04\x40\x40\xc3", 7); /* mov eax,[esp+4]; inc eax; inc eax; ret */
  int changed = 0;
  for (int i = 0; i < 200; i++) {
    code[5] = i & 1 ? 0x48 : 0x40; /* dec or inc */
    changed += ((int (*)(int))code)(i);
  }
  printf("%u %d\n", total, changed);
}

static void processes(char *self) {
  int status;
  if (fork() == 0) execl("/proc/self/exe", self, "child", (char *)0), _exit(1);
  wait(&status);
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, count, (void *)(intptr_t)i);
  for (int i = 0; i < 4; i++) {
    void *result;
    pthread_join(threads[i], &result);
    printf("%d ", (int)(intptr_t)result);
  }
  printf("%d %ld, child %d\n", local, counter, WEXITSTATUS(status));
  unsigned long enter = getauxval(AT_SYSINFO);
  long own = 0;
  __asm__ volatile("call *%1" : "=a"(own) : "r"(enter), "0"(SYS_getpid));
  struct timespec before, later;
  clock_gettime(CLOCK_MONOTONIC, &before);
  usleep(2000);
  clock_gettime(CLOCK_MONOTONIC, &later);
  printf("%d %d %d\n", own == getpid(), int80(SYS_getpid, 0, 0, 0) == getpid(),
         (later.tv_sec - before.tv_sec) * 1000000000LL + later.tv_nsec - before.tv_nsec >= 2000000);
  int80(SYS_write, 1, (long)"by int 0x80\n", 12);
}

static void signals(void) {
  struct sigaction action = {.sa_sigaction = report, .sa_flags = SA_SIGINFO | SA_NODEFER};
  for (int number = 1; number < 32; number++)
    if (number == SIGSEGV || number == SIGFPE || number == SIGILL || number == SIGTRAP || number == SIGBUS)
      sigaction(number, &action, 0);
  FAULT("movl $1,0x1234");
  FAULT("xorl %%ecx,%%ecx; movl $1,%%eax; cltd; idivl %%ecx");
  FAULT("ud2");
  FAULT("int3");
  FAULT("int $4");
  FAULT("movl $0x7fffffff,%%eax; incl %%eax; into");
  FAULT("movl $9,%%eax; pushl $5; pushl $1; bound %%eax,(%%esp); addl $8,%%esp");
  FAULT("hlt");
  FAULT("movl $0x7f,%%eax; movl %%eax,%%gs");
  signal(SIGUSR1, note);
  raise(SIGUSR1);
  struct itimerval interval = {{0, 2000}, {0, 2000}};
  signal(SIGVTALRM, note);
  int first = caught;
  setitimer(ITIMER_VIRTUAL, &interval, 0);
  while (caught == first) continue;
  printf("caught %d, %d\n", first, caught);
}

int main(int argc, char **argv) {
  setvbuf(stdout, 0, _IONBF, 0);
  if (argc > 1) return puts("child"), 9;
  arithmetic();
  memory();
  processes(argv[0]);
  signals();
  return 3;
}
