#include "bench.h"
#include <sys/wait.h>
int main(int c, char **v) {
  if (c > 1 && !strcmp(v[1], "child"))
    _exit(0);
  init(c, v);
  long it = scaled(300);
  uint64_t ck = 0;
  double t = now();
  for (long i = 0; i < it; i++) {
    pid_t p = fork();
    if (!p) {
      execl(v[0], v[0], "child", (char *)0);
      _exit(9);
    }
    int s;
    waitpid(p, &s, 0);
    ck += (s == 0);
  }
  report("forkexec", now() - t, ck, it);
}
