/* stream send|receive ADDRESS PORT MIB: moves so many MiB of zeros through a TCP connection and prints what the other side,
   or this one, has counted. Static, for the guest of the network benchmark. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB (1024L * 1024)

static char buffer[128 * 1024];

static void fail(const char *what) {
  perror(what);
  exit(1);
}

int main(int argc, char **argv) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  if (argc != 5 || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1) return 2;
  address.sin_port = htons(atoi(argv[3]));
  long left = atol(argv[4]) * MIB;
  int link = socket(AF_INET, SOCK_STREAM, 0);
  if (link < 0 || connect(link, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
  if (strcmp(argv[1], "send") == 0) {
    while (left > 0) {
      ssize_t done = write(link, buffer, left < (long)sizeof buffer ? left : (long)sizeof buffer);
      if (done < 0) fail("write");
      left -= done;
    }
    shutdown(link, SHUT_WR);
    ssize_t length = read(link, buffer, sizeof buffer - 1);
    if (length < 0) fail("read");
    printf("%.*s", (int)length, buffer);
  } else {
    dprintf(link, "%ld\n", left / MIB);
    long total = 0;
    for (ssize_t length; (length = read(link, buffer, sizeof buffer)) != 0; total += length)
      if (length < 0) fail("read");
    printf("%ld MiB\n", total / MIB);
  }
  return 0;
}
