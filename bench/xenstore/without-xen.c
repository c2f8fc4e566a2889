/*
 * Preloaded into Debian's xenstored and oxenstored, this lets them serve on a machine without Xen: domain 0 exists, and so
 * does every domain that is asked for. With XENSTORED_RINGS=FOLDER C xenstored serves rings too: the page of domain N is
 * FOLDER/ring-N, and a byte 100 + N written into the pipe FOLDER/events is its signal; the daemon's own signals go nowhere.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int handle;
static const char *rings;

__attribute__((constructor)) static void read_environment(void) { rings = getenv("XENSTORED_RINGS"); }

static int open_in(const char *folder, const char *name, int flags)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return open(path, flags);
}

void *xc_interface_open(void *logger, void *domain_logger, unsigned flags) { return &handle; }
int xc_interface_close(void *xc) { return 0; }
/* xenctrl.h: the first member of xc_dominfo_t is the domain's id; zeros in the rest say that it lives. */
int xc_domain_getinfo(void *xc, uint32_t first, unsigned count, uint32_t *info)
{
	if (count == 0)
		return 0;
	memset(info, 0, 64);
	info[0] = first;
	return 1;
}

void *xenevtchn_open(void *logger, unsigned flags) { return &handle; }
void *xenevtchn_fdopen(void *logger, int fd, unsigned flags) { return &handle; }
int xenevtchn_close(void *channels) { return 0; }
int xenevtchn_fd(void *channels)
{
	static int fd = -1;

	if (fd < 0)
		fd = rings ? open_in(rings, "events", O_RDWR | O_NONBLOCK) : eventfd(0, 0);
	return fd;
}
int xenevtchn_bind_virq(void *channels, unsigned virq) { return 1; }
int xenevtchn_bind_interdomain(void *channels, uint32_t domid, uint32_t port) { return 100 + domid; }
int xenevtchn_notify(void *channels, uint32_t port) { return 0; }
int xenevtchn_pending(void *channels)
{
	unsigned char port;

	return rings && read(xenevtchn_fd(channels), &port, 1) == 1 ? port : -1;
}
int xenevtchn_unbind(void *channels, uint32_t port) { return 0; }
int xenevtchn_unmask(void *channels, uint32_t port) { return 0; }

void *xengnttab_open(void *logger, unsigned flags) { return &handle; }
int xengnttab_close(void *grants) { return 0; }
int xengnttab_set_max_grants(void *grants, uint32_t count) { return 0; }
void *xengnttab_map_grant_ref(void *grants, uint32_t domid, uint32_t ref, int protection)
{
	char name[32];
	void *page;
	int fd;

	if (!rings)
		return NULL;
	snprintf(name, sizeof(name), "ring-%u", domid);
	fd = open_in(rings, name, O_RDWR);
	page = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return page == MAP_FAILED ? NULL : page;
}
int xengnttab_unmap(void *grants, void *address, uint32_t count) { return munmap(address, 4096UL * count); }

/* oxenstored wants more file descriptors than a container allows. */
int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit) { return 0; }

/* What the kernel of a domain 0 tells of its xenstore ring. */
static int fake_file(const char *path)
{
	int fd = -1;

	if (!strcmp(path, "/proc/xen/xsd_port")) {
		fd = memfd_create("port", 0);
		if (write(fd, "1", 1) != 1)
			return -1;
		lseek(fd, 0, SEEK_SET);
	} else if (!strcmp(path, "/proc/xen/xsd_kva")) {
		fd = memfd_create("page", 0);
		if (ftruncate(fd, 4096))
			return -1;
	}
	return fd;
}

int open(const char *path, int flags, ...)
{
	va_list rest;
	va_start(rest, flags);
	int mode = va_arg(rest, int);
	va_end(rest);
	int fd = fake_file(path);
	return fd >= 0 ? fd : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list rest;
	va_start(rest, flags);
	int mode = va_arg(rest, int);
	va_end(rest);
	return open(path, flags, mode);
}

/* oxenstored's socket has a fixed place: XENSTORED_SOCKET names another. */
static const char *moved(const char *path)
{
	const char *wanted = getenv("XENSTORED_SOCKET");
	size_t length = strlen(path);

	return wanted && length > 7 && !strcmp(path + length - 7, "/socket") ? wanted : path;
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
	struct sockaddr_un other = { .sun_family = AF_UNIX };

	if (address->sa_family == AF_UNIX) {
		strncpy(other.sun_path, moved(((const struct sockaddr_un *)address)->sun_path), sizeof(other.sun_path) - 1);
		address = (const struct sockaddr *)&other;
		length = sizeof(other);
	}
	return (int)syscall(SYS_bind, fd, address, length);
}

int unlink(const char *path) { return (int)syscall(SYS_unlink, moved(path)); }
