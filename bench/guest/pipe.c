#include "bench.h"
#include <sys/wait.h>
int main(int c, char **v) {
  init(c, v);
  int a[2], b[2];
  char x = 1;
  if (pipe(a) || pipe(b))
    return 1;
  long it = scaled(100000);
  pid_t p = fork();
  if (!p) {
    close(a[1]);
    close(b[0]);
    while (read(a[0], &x, 1) == 1)
      if (write(b[1], &x, 1) != 1)
        break;
    _exit(0);
  }
  close(a[0]);
  close(b[1]);
  double t = now();
  uint64_t ck = 0;
  for (long i = 0; i < it; i++) {
    if (write(a[1], &x, 1) != 1 || read(b[0], &x, 1) != 1)
      break;
    ck++;
  }
  double e = now() - t;
  close(a[1]);
  waitpid(p, 0, 0);
  report("pipe", e, ck, it);
}
