/*
 * Executes single x86 instructions on the processor below and tells what became of them. Linux, x86-64.
 *
 * Standard input: `struct layout_header`, then its pages (`struct page_header` and 4096 bytes each), then cases: a `struct request`
 * and its patches (`struct patch` and bytes). Standard output: for each case a `struct reply` and its `struct change`s.
 * All little-endian and packed. oracle.ts is the other side.
 *
 * The driver lives in one signal handler. Each case ends in a signal: the trap of TF or of a breakpoint after the instruction, or
 * the fault that it raised. The handler takes the state out of the signal's frame, writes the reply, reads the next case, puts its
 * state into the same frame and returns into it, so that a case costs one signal. The handler makes no libc calls: FS, and with it
 * thread-local storage, belongs to the case.
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <linux/prctl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096u
#define MOST_PAGES 64u
#define TRAP_FLAG 0x100u

enum { READ_ONLY = 0, READ_WRITE = 1, EXECUTE = 2 };
enum { SINGLE_STEP = 0, BREAKPOINT = 1 };
/* Vectors of the reply that no exception has. */
enum { COMPLETED = 0xff, TIMED_OUT = 0xfe, SYSTEM_CALL = 0xfd };

#pragma pack(push, 1)
struct layout_header { uint32_t pages; };
struct page_header { uint64_t address; uint32_t access; };
struct state {
  uint64_t rip, general[16], flags, fs_base, gs_base;
  uint16_t ds, es, fs, gs, cs, ss;
  uint8_t fx[512]; /* an FXSAVE image */
  uint8_t upper[256]; /* the upper halves of YMM registers */
};
struct request { uint8_t reserved, method; uint16_t patches; struct state state; };
struct patch { uint16_t page, offset, length; };
struct reply { uint32_t vector, error; uint64_t cr2; struct state state; uint32_t changes; };
struct change { uint16_t page, offset; uint8_t byte; };
#pragma pack(pop)

struct page {
  uint64_t address;
  uint8_t *alias;  /* the same memory, always writable */
  uint8_t *image;  /* what every case starts from */
  uint8_t *before; /* the image with this case's patches */
};

static struct page pages[MOST_PAGES];
static uint32_t page_count;
static struct request request;
static int running, has_fsgsbase, has_avx;
static volatile uint32_t case_number;
static uint32_t case_at_tick;
static volatile char system_calls = SYSCALL_DISPATCH_FILTER_ALLOW;

static uint8_t input[1 << 20], output[1 << 20];
static size_t input_at, input_end, output_end;

static long kernel(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

static void finish(int code) {
  for (;;) kernel(SYS_exit_group, code, 0, 0);
}

static void complain(const char *text) {
  kernel(SYS_write, 2, (long)text, (long)strlen(text));
  finish(2);
}

static void flush_output(void) {
  for (size_t at = 0; at < output_end;) {
    long written = kernel(SYS_write, 1, (long)(output + at), (long)(output_end - at));
    if (written <= 0) finish(3);
    at += (size_t)written;
  }
  output_end = 0;
}

static void put(const void *bytes, size_t length) {
  if (output_end + length > sizeof output) flush_output();
  memcpy(output + output_end, bytes, length);
  output_end += length;
}

/* Fills `into`; 0 at the end of the input. */
static int get(void *into, size_t length) {
  uint8_t *to = into;
  while (length > 0) {
    if (input_at == input_end) {
      flush_output(); /* the other side may wait for it */
      long count = kernel(SYS_read, 0, (long)input, sizeof input);
      if (count <= 0) return 0;
      input_at = 0;
      input_end = (size_t)count;
    }
    size_t some = input_end - input_at < length ? input_end - input_at : length;
    memcpy(to, input + input_at, some);
    input_at += some;
    to += some;
    length -= some;
  }
  return 1;
}

static const int general_registers[16] = {
  REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
  REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

/* State component of the upper halves, and where the standard format of XSAVE has it (SDM 1, 13.4.2). */
enum { AVX = 4, UPPER_AT = 576 };

static int is_xsave(const uint8_t *fx) {
  uint32_t magic;
  memcpy(&magic, fx + 464, 4);
  return magic == 0x46505853u; /* FP_XSTATE_MAGIC1 */
}

/* Whether a component of the image is not in its initial state, which is zero. */
static int has_component(const uint8_t *fx, uint64_t component) {
  uint64_t components;
  memcpy(&components, fx + 512, 8);
  return is_xsave(fx) && (components & component) != 0;
}

static void reply_from(ucontext_t *context, int signal) {
  static struct reply reply;
  static struct change changes[4 * PAGE]; /* more than any string instruction of a case moves */
  greg_t *registers = context->uc_mcontext.gregs;
  struct state *state = &reply.state;
  memset(&reply, 0, sizeof reply);
  uint32_t trap = (uint32_t)registers[REG_TRAPNO];
  state->rip = (uint64_t)registers[REG_RIP];
  reply.vector = trap;
  if (signal == SIGALRM) reply.vector = TIMED_OUT;
  else if (signal == SIGSYS) reply.vector = SYSTEM_CALL;
  else if (trap == 1) reply.vector = COMPLETED;
  else if (trap == 3) {
    state->rip -= 1;
    /* A breakpoint at the case's own address is its instruction. */
    if (request.method == BREAKPOINT && state->rip != request.state.rip) reply.vector = COMPLETED;
  }
  reply.error = (uint32_t)registers[REG_ERR];
  if (trap == 14) reply.cr2 = (uint64_t)registers[REG_CR2];
  for (int i = 0; i < 16; i++) state->general[i] = (uint64_t)registers[general_registers[i]];
  state->flags = (uint64_t)registers[REG_EFL];
  kernel(SYS_arch_prctl, ARCH_GET_FS, (long)&state->fs_base, 0);
  kernel(SYS_arch_prctl, ARCH_GET_GS, (long)&state->gs_base, 0);
  __asm__ volatile("mov %%ds, %0" : "=r"(state->ds));
  __asm__ volatile("mov %%es, %0" : "=r"(state->es));
  __asm__ volatile("mov %%fs, %0" : "=r"(state->fs));
  __asm__ volatile("mov %%gs, %0" : "=r"(state->gs));
  state->cs = (uint16_t)registers[REG_CSGSFS];
  state->ss = (uint16_t)((uint64_t)registers[REG_CSGSFS] >> 48);
  const uint8_t *fx = (const uint8_t *)context->uc_mcontext.fpregs;
  memcpy(state->fx, fx, 512);
  if (has_component(fx, AVX)) memcpy(state->upper, fx + UPPER_AT, sizeof state->upper);
  uint32_t most = sizeof changes / sizeof *changes;
  for (uint32_t i = 0; i < page_count; i++) {
    struct page *page = &pages[i];
    if (memcmp(page->alias, page->before, PAGE) == 0) continue;
    for (uint32_t offset = 0; offset < PAGE; offset++) {
      if (page->alias[offset] == page->before[offset]) continue;
      if (reply.changes < most)
        changes[reply.changes++] = (struct change){(uint16_t)i, (uint16_t)offset, page->alias[offset]};
      page->alias[offset] = page->before[offset];
    }
  }
  put(&reply, sizeof reply);
  put(changes, reply.changes * sizeof *changes);
}

struct range { uint16_t page, offset, length; };
static struct range patched[64];
static uint32_t patched_count;

static void load_segments(const struct state *state) {
  __asm__ volatile("mov %0, %%ds" ::"r"((uint32_t)state->ds));
  __asm__ volatile("mov %0, %%es" ::"r"((uint32_t)state->es));
  __asm__ volatile("mov %0, %%fs" ::"r"((uint32_t)state->fs));
  __asm__ volatile("mov %0, %%gs" ::"r"((uint32_t)state->gs));
  if (has_fsgsbase) { /* keeps the selector */
    __asm__ volatile("wrfsbase %0" ::"r"(state->fs_base));
    __asm__ volatile("wrgsbase %0" ::"r"(state->gs_base));
  } else if (kernel(SYS_arch_prctl, ARCH_SET_FS, (long)state->fs_base, 0) != 0 ||
             kernel(SYS_arch_prctl, ARCH_SET_GS, (long)state->gs_base, 0) != 0)
    complain("oracle: the kernel refuses a segment base\n");
}

static void next_case(ucontext_t *context) {
  for (uint32_t i = 0; i < patched_count; i++) {
    struct page *page = &pages[patched[i].page];
    memcpy(page->alias + patched[i].offset, page->image + patched[i].offset, patched[i].length);
    memcpy(page->before + patched[i].offset, page->image + patched[i].offset, patched[i].length);
  }
  patched_count = 0;
  if (!get(&request, sizeof request)) {
    flush_output();
    finish(0);
  }
  if (request.patches > sizeof patched / sizeof *patched) complain("oracle: too many patches\n");
  for (uint32_t i = 0; i < request.patches; i++) {
    struct patch patch;
    if (!get(&patch, sizeof patch)) finish(3);
    if (patch.page >= page_count || patch.offset + patch.length > PAGE) complain("oracle: a patch lies outside\n");
    struct page *page = &pages[patch.page];
    if (!get(page->alias + patch.offset, patch.length)) finish(3);
    memcpy(page->before + patch.offset, page->alias + patch.offset, patch.length);
    patched[patched_count++] = (struct range){patch.page, patch.offset, patch.length};
  }
  const struct state *state = &request.state;
  greg_t *registers = context->uc_mcontext.gregs;
  for (int i = 0; i < 16; i++) registers[general_registers[i]] = (greg_t)state->general[i];
  registers[REG_RIP] = (greg_t)state->rip;
  registers[REG_EFL] = (greg_t)(state->flags | (request.method == SINGLE_STEP ? TRAP_FLAG : 0));
  /* CS, GS, FS, SS, 16 bits each. */
  registers[REG_CSGSFS] = (greg_t)((uint64_t)state->cs | (uint64_t)state->ss << 48);
  uint8_t *fx = (uint8_t *)context->uc_mcontext.fpregs;
  memcpy(fx, state->fx, 416);
  if (is_xsave(fx)) { /* x87, SSE and AVX are in use, the rest is in its initial state */
    uint64_t components = 3;
    if (has_avx) {
      components |= AVX;
      memcpy(fx + UPPER_AT, state->upper, sizeof state->upper);
    }
    memcpy(fx + 512, &components, 8);
  }
  sigemptyset(&context->uc_sigmask);
  load_segments(state);
  case_number++;
}

__attribute__((used)) static void handle(int signal, siginfo_t *info, void *raw) {
  (void)info;
  ucontext_t *context = raw;
  system_calls = SYSCALL_DISPATCH_FILTER_ALLOW;
  if (running) {
    if (signal == SIGALRM && case_at_tick != case_number) {
      case_at_tick = case_number;
      system_calls = SYSCALL_DISPATCH_FILTER_BLOCK;
      return;
    }
    reply_from(context, signal);
  } else if (signal != SIGUSR1) {
    if (signal == SIGALRM) return;
    complain("oracle: a signal outside of a case\n");
  }
  running = 1;
  next_case(context);
  system_calls = SYSCALL_DISPATCH_FILTER_BLOCK;
}

/* A case may leave AC or NT set; alignment checks must not reach the handler. */
__asm__(".text\nenter:\n\tpushq $2\n\tpopfq\n\tjmp handle\n");
extern void enter(int, siginfo_t *, void *);

static void map_page(struct page *page, uint32_t access) {
  int file = memfd_create("page", 0);
  if (file < 0 || ftruncate(file, PAGE) != 0) complain("oracle: no memory\n");
  int protection = access == READ_WRITE ? PROT_READ | PROT_WRITE : access == EXECUTE ? PROT_READ | PROT_EXEC : PROT_READ;
  void *there = mmap((void *)page->address, PAGE, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, file, 0);
  if (there != (void *)page->address) complain("oracle: a page can't be mapped where it is wanted\n");
  page->alias = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  page->image = malloc(PAGE);
  page->before = malloc(PAGE);
  if (page->alias == MAP_FAILED || page->image == 0 || page->before == 0) complain("oracle: no memory\n");
  close(file);
}

extern char __executable_start, etext;

int main(void) {
  struct layout_header layout;
  if (!get(&layout, sizeof layout)) return 1;
  if (layout.pages > MOST_PAGES) complain("oracle: too many pages\n");
  for (; page_count < layout.pages; page_count++) {
    struct page_header header;
    if (!get(&header, sizeof header)) return 1;
    struct page *page = &pages[page_count];
    page->address = header.address;
    map_page(page, header.access);
    if (!get(page->image, PAGE)) return 1;
    memcpy(page->alias, page->image, PAGE);
    memcpy(page->before, page->image, PAGE);
    /* A page table entry that isn't there yet would show in the error code. */
    (void)*(volatile uint8_t *)page->address;
  }
  has_avx = __builtin_cpu_supports("avx");
  has_fsgsbase = (getauxval(AT_HWCAP2) & 2) != 0; /* HWCAP2_FSGSBASE */
  stack_t stack = {.ss_size = 1 << 18};
  stack.ss_sp = malloc(stack.ss_size);
  if (sigaltstack(&stack, 0) != 0) complain("oracle: no signal stack\n");
  struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
  action.sa_sigaction = enter;
  sigfillset(&action.sa_mask);
  static const int signals[] = {SIGUSR1, SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGALRM};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, 0);
  struct itimerval tick = {{0, 300000}, {0, 300000}};
  setitimer(ITIMER_REAL, &tick, 0);
  /* A system call that a case makes becomes a SIGSYS. Older kernels can't; the cases have none anyway. */
  prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, (long)&__executable_start, &etext - &__executable_start,
        &system_calls);
  raise(SIGUSR1);
  return 1;
}
