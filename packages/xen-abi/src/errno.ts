// A table: Error numbers of public/errno.h.

/** Error numbers of `errno.h`; a hypercall answers their negative: `-XEN_ERRNO.EINVAL`. Equal to Linux's, also where the host's differ. */
export const XEN_ERRNO = {
  /** Not permitted. */
  EPERM: 1,
  /** No such thing: a VCPU, a node. */
  ENOENT: 2,
  /** No such domain. */
  ESRCH: 3,
  /** Input or output failed. */
  EIO: 5,
  /** No such device or address. */
  ENXIO: 6,
  /** The argument is too long. */
  E2BIG: 7,
  /** Not a program in a known format. */
  ENOEXEC: 8,
  /** Bad file number. */
  EBADF: 9,
  /** No child processes. */
  ECHILD: 10,
  /** Try again. */
  EAGAIN: 11,
  /** The same as EAGAIN. */
  EWOULDBLOCK: 11,
  /** Out of memory. */
  ENOMEM: 12,
  /** Access denied. */
  EACCES: 13,
  /** An argument's address cannot be read or written. */
  EFAULT: 14,
  /** The thing is in use. */
  EBUSY: 16,
  /** It exists already. */
  EEXIST: 17,
  /** The two lie on different devices. */
  EXDEV: 18,
  /** No such device. */
  ENODEV: 19,
  /** Not a directory. */
  ENOTDIR: 20,
  /** Is a directory. */
  EISDIR: 21,
  /** An argument is invalid. */
  EINVAL: 22,
  /** Too many open files in all. */
  ENFILE: 23,
  /** Too many open files. */
  EMFILE: 24,
  /** No space left. */
  ENOSPC: 28,
  /** Read only. */
  EROFS: 30,
  /** Too many links. */
  EMLINK: 31,
  /** Argument outside the function's domain. */
  EDOM: 33,
  /** Result too large. */
  ERANGE: 34,
  /** A deadlock would follow. */
  EDEADLK: 35,
  /** The same as EDEADLK. */
  EDEADLOCK: 35,
  /** The name is too long. */
  ENAMETOOLONG: 36,
  /** No more locks. */
  ENOLCK: 37,
  /** No such hypercall or command. */
  ENOSYS: 38,
  /** The directory is not empty. */
  ENOTEMPTY: 39,
  /** No data. */
  ENODATA: 61,
  /** The time has passed. */
  ETIME: 62,
  /** Bad message. */
  EBADMSG: 74,
  /** The value does not fit its type. */
  EOVERFLOW: 75,
  /** Illegal byte sequence. */
  EILSEQ: 84,
  /** Not a socket. */
  ENOTSOCK: 88,
  /** The message is too long. */
  EMSGSIZE: 90,
  /** Not supported. */
  EOPNOTSUPP: 95,
  /** The address is in use. */
  EADDRINUSE: 98,
  /** The address is not available. */
  EADDRNOTAVAIL: 99,
  /** No buffer space. */
  ENOBUFS: 105,
  /** Connected already. */
  EISCONN: 106,
  /** Not connected. */
  ENOTCONN: 107,
  /** Timed out. */
  ETIMEDOUT: 110,
  /** Connection refused. */
  ECONNREFUSED: 111,
} as const;
