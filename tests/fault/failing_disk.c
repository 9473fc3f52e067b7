/* Makes writes of an LMDB data file fail on order; loaded into a process by LD_PRELOAD.

The file that FAILING_DISK names holds "WHERE ERRNO COUNT". WHERE is meta (LMDB's first two pages), data (all other
pages), sync, or all. The next COUNT such calls on a file named data.mdb fail with ERRNO; a negative COUNT never ends.
Without the file nothing fails. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define META_BYTES 8192

static int is_data_file(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 8) return 0;
    path[length] = 0;
    return strcmp(path + length - 8, "data.mdb") == 0;
}

static int fails(int fd, const char *what) {
    const char *name = getenv("FAILING_DISK");
    char where[16];
    int code, count;
    FILE *orders = name ? fopen(name, "r") : NULL;
    if (!orders) return 0;
    int read = fscanf(orders, "%15s %d %d", where, &code, &count);
    fclose(orders);
    if (read != 3 || count == 0 || (strcmp(where, what) && strcmp(where, "all")) || !is_data_file(fd)) return 0;
    if (count > 0) {
        orders = fopen(name, "w");
        fprintf(orders, "%s %d %d", where, code, count - 1);
        fclose(orders);
    }
    errno = code;
    return 1;
}

#define REAL(type, name, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    if (fails(fd, at < META_BYTES ? "meta" : "data")) return -1;
    return REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(fd, bytes, size, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) { return pwrite64(fd, bytes, size, at); }

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    if (fails(fd, at < META_BYTES ? "meta" : "data")) return -1;
    return REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t)(fd, parts, count, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (fails(fd, "data")) return -1;
    return REAL(ssize_t, "writev", int, const struct iovec *, int)(fd, parts, count);
}

int fdatasync(int fd) {
    if (fails(fd, "sync")) return -1;
    return REAL(int, "fdatasync", int)(fd);
}

int posix_fallocate64(int fd, off64_t at, off64_t size) {
    if (fails(fd, "room")) return errno;
    return REAL(int, "posix_fallocate64", int, off64_t, off64_t)(fd, at, size);
}

int posix_fallocate(int fd, off_t at, off_t size) { return posix_fallocate64(fd, at, size); }
