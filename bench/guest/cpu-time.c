// cpu-time PROGRAM ARGUMENTS...: runs a program, then writes the processor time that it and its children took, in
// nanoseconds, to file descriptor 3. Its exit status is the program's.
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static long long nanoseconds(struct timeval time) {
  return time.tv_sec * 1000000000LL + time.tv_usec * 1000LL;
}

int main(int count, char **arguments) {
  if (count < 2)
    return 2;
  pid_t child = fork();
  if (child == 0) {
    close(3);
    execv(arguments[1], arguments + 1);
    _exit(127);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child)
    return 2;
  struct rusage usage;
  getrusage(RUSAGE_CHILDREN, &usage);
  dprintf(3, "%lld\n", nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
