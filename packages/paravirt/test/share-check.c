// What programs expect of a file system, tried in the folder that is the first argument. Prints a line for each thing
// that holds, and a line with "not" for each that doesn't.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void check(const char *what, int holds) {
  printf("%s %s%s%s%s\n", holds ? "ok" : "not", what, holds ? "" : " (", holds ? "" : strerror(errno), holds ? "" : ")");
}

static int put(const char *name, const char *text) {
  int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0644);
  if (write(fd, text, strlen(text)) < 0) return -1;
  return fd;
}

static int holds(const char *name, const char *text) {
  char got[4096];
  int fd = open(name, O_RDONLY);
  ssize_t size = read(fd, got, sizeof got);
  close(fd);
  return size == (ssize_t)strlen(text) && memcmp(got, text, size) == 0;
}

// Whether a child process finds the file locked.
static int locked_for_others(int kind) {
  pid_t child = fork();
  if (child == 0) {
    int fd = open("lock", O_RDWR);
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    int failed = kind == 0 ? flock(fd, LOCK_EX | LOCK_NB) : fcntl(fd, F_SETLK, &range);
    _exit(failed && (errno == EWOULDBLOCK || errno == EACCES));
  }
  int status;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status);
}

int main(int argc, char **argv) {
  struct stat st;
  if (argc < 2 || chdir(argv[1]) < 0) return 1;
  setvbuf(stdout, NULL, _IOLBF, 0);

  int fd = open("new", O_CREAT | O_EXCL | O_RDWR, 0640);
  check("O_EXCL makes a file", fd >= 0);
  check("O_EXCL fails for one that is there", open("new", O_CREAT | O_EXCL | O_RDWR, 0640) < 0 && errno == EEXIST);
  check("its mode is what was asked for", fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0640);
  check("pwrite leaves a hole", pwrite(fd, "end", 3, 1000000) == 3 && fstat(fd, &st) == 0 && st.st_size == 1000003);
  check("a hole takes no room", st.st_blocks * 512 < 900000);
  check("ftruncate shortens", ftruncate(fd, 5) == 0 && fstat(fd, &st) == 0 && st.st_size == 5);
  check("ftruncate lengthens", ftruncate(fd, 50) == 0 && fstat(fd, &st) == 0 && st.st_size == 50);
  check("fsync", fsync(fd) == 0 && fdatasync(fd) == 0);
  close(fd);

  fd = put("gone", "still here");
  check("unlink of an open file", unlink("gone") == 0);
  char got[100] = {0};
  check("it can still be read", pread(fd, got, sizeof got, 0) == 10 && strcmp(got, "still here") == 0);
  check("and written", pwrite(fd, "S", 1, 0) == 1 && pread(fd, got, 5, 0) == 5 && memcmp(got, "Still", 5) == 0);
  check("it has no name", fstat(fd, &st) == 0 && access("gone", F_OK) < 0 && errno == ENOENT);
  close(fd);

  close(put("a", "one"));
  close(put("b", "two"));
  fd = open("b", O_RDONLY);
  check("rename over an open file", rename("a", "b") == 0 && holds("b", "one"));
  check("who had it open has the old one", pread(fd, got, 3, 0) == 3 && memcmp(got, "two", 3) == 0);
  close(fd);

  check("link", link("b", "c") == 0 && stat("c", &st) == 0 && st.st_nlink == 2);
  check("symlink", symlink("b", "s") == 0 && holds("s", "one") && readlink("s", got, sizeof got) == 1 && got[0] == 'b');
  check("a loop of links is one", symlink("loop", "loop") == 0 && open("loop", O_RDONLY) < 0 && errno == ELOOP);
  check("O_NOFOLLOW", open("s", O_RDONLY | O_NOFOLLOW) < 0 && errno == ELOOP);
  check("lchown of a link", lchown("s", 5, 6) == 0 && lstat("s", &st) == 0 && st.st_uid == 5 && st.st_gid == 6);
  check("the file behind it keeps its owner", stat("s", &st) == 0 && st.st_uid == 0);

  struct timespec times[2] = {{981173106, 123456789}, {1700000000, 987654321}};
  check("utimensat", utimensat(AT_FDCWD, "b", times, 0) == 0 && stat("b", &st) == 0);
  // Linux's client rounds times down to whole seconds before it sends them.
  check("times are set", st.st_mtim.tv_sec == 1700000000 && st.st_atim.tv_sec == 981173106);
  times[0].tv_nsec = UTIME_OMIT;
  times[1].tv_nsec = UTIME_NOW;
  check("one time alone", utimensat(AT_FDCWD, "b", times, 0) == 0 && stat("b", &st) == 0 && st.st_atim.tv_sec == 981173106 && st.st_mtim.tv_sec > 1700000000);
  times[0] = times[1] = (struct timespec){7, 8};
  check("times of a link", utimensat(AT_FDCWD, "s", times, AT_SYMLINK_NOFOLLOW) == 0 && lstat("s", &st) == 0 && st.st_mtim.tv_sec == 7);

  for (int child = 0; child < 4; child++)
    if (fork() == 0) {
      fd = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
      for (int line = 0; line < 50; line++) if (write(fd, "0123456789abcde\n", 16) != 16) _exit(1);
      _exit(0);
    }
  int failed = 0, status;
  while (wait(&status) > 0) failed |= status;
  check("four processes append without losing a line", !failed && stat("log", &st) == 0 && st.st_size == 4 * 50 * 16);

  fd = put("lock", "");
  int other = open("lock", O_RDWR);
  check("flock", flock(fd, LOCK_EX | LOCK_NB) == 0 && flock(other, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
  check("flock holds for other processes", locked_for_others(0));
  check("flock is given up", flock(fd, LOCK_UN) == 0 && flock(other, LOCK_SH | LOCK_NB) == 0 && flock(fd, LOCK_SH | LOCK_NB) == 0);
  close(other);
  close(fd);
  fd = open("lock", O_RDWR);
  check("closing gives up flock", flock(fd, LOCK_EX | LOCK_NB) == 0 && flock(fd, LOCK_UN) == 0);
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 15};
  check("fcntl locks a range", fcntl(fd, F_SETLK, &range) == 0 && locked_for_others(1));
  range.l_len = 10;
  range.l_type = F_UNLCK;
  check("and a part of it stays", fcntl(fd, F_SETLK, &range) == 0 && locked_for_others(1));
  range.l_len = 0;
  check("until it is given up", fcntl(fd, F_SETLK, &range) == 0 && !locked_for_others(1));
  close(fd);

  fd = put("map", "");
  check("a file for mapping", ftruncate(fd, 8192) == 0);
  char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  check("mmap for writing", map != MAP_FAILED);
  if (map != MAP_FAILED) {
    memcpy(map + 4000, "across the pages", 16);
    memset(map + 4090, 'x', 200);
    check("msync", msync(map, 8192, MS_SYNC) == 0 && munmap(map, 8192) == 0);
    check("what was mapped is in the file", pread(fd, got, 16, 4000) == 16 && memcmp(got, "across the pages", 16) == 0);
  }
  close(fd);

  mkdir("many", 0755);
  for (int index = 0; index < 300; index++) {
    sprintf(got, "many/%d", index);
    close(put(got, ""));
  }
  DIR *folder = opendir("many");
  int count = 0, again = 0;
  long place = 0;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL; count++) if (count == 100) place = telldir(folder);
  seekdir(folder, place);
  while (readdir(folder) != NULL) again++;
  check("a folder has its names, also from the middle on", count == 302 && again == 201);
  rewinddir(folder);
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    sprintf(got, "many/%.80s", entry->d_name);
    if (entry->d_name[0] != '.') unlink(got);
  }
  closedir(folder);
  check("all are gone after one pass of removing", rmdir("many") == 0);

  struct statfs fs;
  check("statfs", statfs(".", &fs) == 0 && fs.f_blocks > 0 && fs.f_type == 0x01021997);
  check("extended attributes aren't supported, and say so", getxattr("b", "user.x", got, 10) < 0 && errno == EOPNOTSUPP && setxattr("b", "user.x", "y", 1, 0) < 0 && errno == EOPNOTSUPP);
  check("FIFOs are refused", mkfifo("fifo", 0600) < 0 && errno == EPERM);
  check("long names are refused", mkdir("0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890", 0755) < 0 && errno == ENAMETOOLONG);
  puts("done");
  return 0;
}
