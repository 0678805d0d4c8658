/* Comes between a process and its file system (LD_PRELOAD): lets calls fail, and records writes.
 *
 * Only paths under a prefix are touched. `faults_arm` lets the n-th call of a kind fail, and those
 * after it too if the fault stays; `faults_record` writes every change to a log, from which
 * power_loss.py makes what a disk may hold after a loss of power.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE, WRITE, READ, RENAME, MKDIR, REMOVE, SYNC, ALLOCATE, KINDS };
#define MOST_FILES 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char prefix[PATH_MAX];
static char paths[MOST_FILES][512];
static long counts[KINDS];
static int armed_kind = -1, armed_error, armed_stays, log_file = -1;
static long armed_call;

#define REAL(name) static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static ssize_t real_write(int fd, const void *data, size_t size) {
    REAL(write);
    return real(fd, data, size);
}

static int is_ours(const char *path) {
    size_t size = strlen(prefix);
    return size && path && !strncmp(path, prefix, size) && (path[size] == '/' || !path[size]);
}

static const char *path_of(int fd) {
    return fd >= 0 && fd < MOST_FILES && paths[fd][0] ? paths[fd] : NULL;
}

/* Count a call; return the error it is to fail with, 0 for none, -1 for a short write. */
static int fault(int kind) {
    pthread_mutex_lock(&lock);
    long call = ++counts[kind];
    int hit = kind == armed_kind && (call == armed_call || (armed_stays && call > armed_call));
    int error = hit ? armed_error : 0;
    pthread_mutex_unlock(&lock);
    return error;
}

static void record(const char *what, const char *one, const char *other, int64_t offset,
                   const struct iovec *parts, int count, size_t size) {
    if (log_file < 0) return;
    char head[1200];
    int length = snprintf(head, sizeof head, "%s\t%s\t%s\t%lld\t%zu\n", what, one, other,
                          (long long)offset, size);
    pthread_mutex_lock(&lock);
    real_write(log_file, head, length);
    for (int i = 0; i < count && size; i++) {
        size_t part = parts[i].iov_len < size ? parts[i].iov_len : size;
        real_write(log_file, parts[i].iov_base, part);
        size -= part;
    }
    pthread_mutex_unlock(&lock);
}

void faults_watch(const char *folder) {
    snprintf(prefix, sizeof prefix, "%s", folder);
}

void faults_arm(int kind, long call, int error, int stays) {
    memset(counts, 0, sizeof counts);
    armed_kind = kind, armed_call = call, armed_error = error, armed_stays = stays;
}

long faults_count(int kind) { return counts[kind]; }

void faults_record(const char *path) {
    if (log_file >= 0) close(log_file);
    log_file = -1;
    if (path[0]) log_file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
}

static int opened(int fd, const char *path, int flags, int existed) {
    if (fd >= 0 && fd < MOST_FILES) {
        snprintf(paths[fd], sizeof paths[fd], "%s", path);
        if (flags & O_CREAT && !existed) record("create", path, "", 0, NULL, 0, 0);
        else if (flags & O_TRUNC) record("truncate", path, "", 0, NULL, 0, 0);
    }
    return fd;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        if (!is_ours(path)) return real(path, flags, mode); \
        int existed = !access(path, F_OK); \
        if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) { \
            int error = fault(CREATE); \
            if (error > 0) { errno = error; return -1; } \
        } \
        return opened(real(path, flags, mode), path, flags, existed); \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    REAL(close);
    if (fd >= 0 && fd < MOST_FILES) paths[fd][0] = 0;
    return real(fd);
}

/* All writes come through here; offset -1 is the file's own position. */
static ssize_t written(int fd, const struct iovec *parts, int count, off_t offset) {
    REAL(pwritev);
    static ssize_t (*real_writev)(int, const struct iovec *, int);
    if (!real_writev) real_writev = dlsym(RTLD_NEXT, "writev");
    const char *path = path_of(fd);
    struct iovec half;
    if (path) {
        int error = fault(WRITE);
        if (error > 0) { errno = error; return -1; }
        if (error < 0 && count) {
            half = parts[0];
            half.iov_len = (half.iov_len + 1) / 2;
            parts = &half, count = 1;
        }
        if (offset < 0 && log_file >= 0) {
            off_t place = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
            ssize_t done = real_writev(fd, parts, count);
            if (done > 0) record("write", path, "", place, parts, count, done);
            return done;
        }
    }
    ssize_t done = offset < 0 ? real_writev(fd, parts, count) : real(fd, parts, count, offset);
    if (path && done > 0) record("write", path, "", offset, parts, count, done);
    return done;
}

ssize_t write(int fd, const void *data, size_t size) {
    if (!path_of(fd)) return real_write(fd, data, size);
    struct iovec part = {(void *)data, size};
    return written(fd, &part, 1, -1);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return written(fd, parts, count, -1);
}

static ssize_t written_at(int fd, const void *data, size_t size, off_t offset) {
    struct iovec part = {(void *)data, size};
    return written(fd, &part, 1, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return written_at(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) {
    return written_at(fd, data, size, offset);
}

static int failed_read(int fd) {
    int error = path_of(fd) ? fault(READ) : 0;
    if (error > 0) errno = error;
    return error > 0;
}

ssize_t read(int fd, void *data, size_t size) {
    REAL(read);
    return failed_read(fd) ? -1 : real(fd, data, size);
}

ssize_t pread64(int fd, void *data, size_t size, off_t offset) {
    REAL(pread64);
    return failed_read(fd) ? -1 : real(fd, data, size, offset);
}

ssize_t preadv64v2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    REAL(preadv64v2);
    return failed_read(fd) ? -1 : real(fd, parts, count, offset, flags);
}

#define FAIL(kind) do { int error = fault(kind); if (error > 0) { errno = error; return -1; } } while (0)

int rename(const char *from, const char *to) {
    REAL(rename);
    if (!is_ours(from)) return real(from, to);
    FAIL(RENAME);
    int result = real(from, to);
    if (!result) record("rename", from, to, 0, NULL, 0, 0);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    if (!is_ours(path)) return real(path, mode);
    FAIL(MKDIR);
    int result = real(path, mode);
    if (!result) record("mkdir", path, "", 0, NULL, 0, 0);
    return result;
}

int unlink(const char *path) {
    REAL(unlink);
    if (!is_ours(path)) return real(path);
    FAIL(REMOVE);
    int result = real(path);
    if (!result) record("unlink", path, "", 0, NULL, 0, 0);
    return result;
}

int rmdir(const char *path) {
    REAL(rmdir);
    if (!is_ours(path)) return real(path);
    int result = real(path);
    if (!result) record("rmdir", path, "", 0, NULL, 0, 0);
    return result;
}

/* shutil.rmtree goes by the descriptor of the folder. */
int unlinkat(int fd, const char *name, int flags) {
    REAL(unlinkat);
    const char *folder = path_of(fd);
    if (!folder) return real(fd, name, flags);
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FAIL(REMOVE);
    int result = real(fd, name, flags);
    if (!result) record(flags & AT_REMOVEDIR ? "rmdir" : "unlink", path, "", 0, NULL, 0, 0);
    return result;
}

/* For the same: a folder that is opened below another one. */
#define OPENAT(name) \
    int name(int at, const char *file, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        int fd = real(at, file, flags, mode); \
        const char *folder = path_of(at); \
        if (fd >= 0 && fd < MOST_FILES && folder) \
            snprintf(paths[fd], sizeof paths[fd], "%.400s/%.100s", folder, file); \
        return fd; \
    }
OPENAT(openat)
OPENAT(openat64)

int fsync(int fd) {
    REAL(fsync);
    const char *path = path_of(fd);
    if (!path) return real(fd);
    FAIL(SYNC);
    int result = real(fd);
    if (!result) record("fsync", path, "", 0, NULL, 0, 0);
    return result;
}

int fdatasync(int fd) { return fsync(fd); }

int syncfs(int fd) {
    FAIL(SYNC);
    (void)fd; /* the log tells what would last; the machine's own disk need not be kept waiting */
    record("sync", "", "", 0, NULL, 0, 0);
    return 0;
}

void sync(void) { record("sync", "", "", 0, NULL, 0, 0); }

int posix_fallocate64(int fd, off_t offset, off_t size) {
    REAL(posix_fallocate64);
    if (path_of(fd)) {
        int error = fault(ALLOCATE);
        if (error > 0) return error;
    }
    return real(fd, offset, size);
}

int posix_fallocate(int fd, off_t offset, off_t size) {
    return posix_fallocate64(fd, offset, size);
}
