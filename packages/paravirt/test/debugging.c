/* Debugs a child with ptrace: a watchpoint, a breakpoint hit twice, single steps; then an alignment check of its own. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int watched, sum;
static char buffer[64];
static sigjmp_buf after;

__attribute__((noinline)) static int target(int x) {
  sum += x;
  return x + 1;
}

static void set_register(pid_t child, int number, unsigned long value) {
  if (ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[number]), value))
    printf("debug register %d: %s\n", number, strerror(errno));
}

/* Lets the child go on; the signal that stops it, or 1000 and its exit status. */
static int resume(pid_t child, int how) {
  int status;
  ptrace(how, child, 0, 0);
  waitpid(child, &status, 0);
  return WIFSTOPPED(status) ? WSTOPSIG(status) : 1000 + WEXITSTATUS(status);
}

static void at_target(pid_t child) {
  struct user_regs_struct registers;
  int signal = resume(child, PTRACE_CONT);
  ptrace(PTRACE_GETREGS, child, 0, &registers);
  printf("breakpoint: signal %d, at target %d, argument %llu\n", signal, registers.rip == (unsigned long)target,
         registers.rdi);
}

static void misaligned(int signal) {
  (void)signal;
  __asm__ volatile("pushfq; andq $~0x40000, (%%rsp); popfq" ::: "memory", "cc");
  siglongjmp(after, 1);
}

int main(void) {
  pid_t child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    watched = 5;
    memset(buffer, 7, 40);
    target(3);
    target(4);
    _exit(sum);
  }
  waitpid(child, 0, 0);
  set_register(child, 0, (unsigned long)&watched);
  set_register(child, 7, 1 | 0xdUL << 16); /* DR0 on writes of 4 bytes */
  int signal = resume(child, PTRACE_CONT);
  printf("watchpoint: signal %d, DR6 %lx, value %d\n", signal,
         ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, u_debugreg[6]), 0) & 15,
         (int)ptrace(PTRACE_PEEKDATA, child, &watched, 0));
  set_register(child, 7, 0);
  set_register(child, 1, (unsigned long)target);
  set_register(child, 7, 4); /* DR1 on execution */
  at_target(child);
  at_target(child);
  set_register(child, 7, 0);
  int steps = 0, end;
  while ((end = resume(child, PTRACE_SINGLESTEP)) == SIGTRAP) steps++;
  printf("single steps: %s, then exit %d\n", steps > 5 ? "many" : "few", end - 1000);

  struct sigaction action = {.sa_handler = misaligned};
  sigaction(SIGBUS, &action, 0);
  if (!sigsetjmp(after, 1)) {
    __asm__ volatile("pushfq; orq $0x40000, (%%rsp); popfq; movl 1(%0), %%eax; pushfq; andq $~0x40000, (%%rsp); popfq"
                     :
                     : "r"(buffer)
                     : "rax", "memory", "cc");
    printf("alignment: no fault\n");
  } else
    printf("alignment: SIGBUS\n");
  return 0;
}
