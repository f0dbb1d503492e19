#include "actors/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCK_SUFFIX ".lock"

static int fail(struct err *err, const char *text, int code, const char *what)
{
    return err_set(err, code, "can't listen at %s: %s: %s", text, what, strerror(-code));
}

/* --- tcp ---------------------------------------------------------------------------------------
 */

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static bool is_port(const char *text)
{
    if (strcmp(text, "*") == 0)
        return true;
    size_t length = strlen(text);
    return length && length <= 5 && strspn(text, "0123456789") == length && atol(text) <= 65535;
}

static int claim_tcp(struct endpoint *endpoint, const char *text, struct err *err)
{
    char host[ENDPOINT_TEXT];
    snprintf(host, sizeof host, "%s", text + strlen("tcp://"));
    char *colon = strrchr(host, ':');
    if (!colon || !is_port(colon + 1))
        return err_set(err, -EINVAL,
                       "can't listen at %s: it must end in a port, as in tcp://127.0.0.1:5555 "
                       "(or :* for a free one)",
                       text);
    *colon = '\0';
    size_t length = strlen(host);
    bool brackets = length >= 2 && host[0] == '[' && host[length - 1] == ']';
    char address[ENDPOINT_TEXT];
    snprintf(address, sizeof address, "%.*s", (int)(length - 2 * brackets), host + brackets);
    if (strcmp(address, "localhost") == 0)
        strcpy(address, "127.0.0.1");
    if (!is_loopback(address))
        return err_set(err, -EACCES,
                       "can't listen at %s: beyond loopback anyone could give orders; listen at "
                       "127.0.0.1 or at an ipc:// path, and tunnel to it",
                       text);
    snprintf(endpoint->bind, sizeof endpoint->bind,
             brackets ? "tcp://[%.100s]:%s" : "tcp://%.100s:%s", address, colon + 1);
    return 0;
}

/* --- ipc ---------------------------------------------------------------------------------------
 */

static int make_folder(const char *path, const char *text, struct err *err)
{
    char copy[ENDPOINT_TEXT];
    snprintf(copy, sizeof copy, "%s", path);
    const char *folder = dirname(copy);
    if (mkdir(folder, 0700) == 0 || errno == EEXIST)
        return 0;
    return fail(err, text, -errno, folder);
}

/* Whether the lock file at `path` is still the one that `fd` has open: its owner may have removed
 * it between our opening and locking it. */
static bool same_file(const char *path, int fd)
{
    struct stat by_path, by_fd;
    return stat(path, &by_path) == 0 && fstat(fd, &by_fd) == 0 && by_path.st_ino == by_fd.st_ino &&
           by_path.st_dev == by_fd.st_dev;
}

static int refuse_locked(int fd, const char *text, struct err *err)
{
    char owner[16] = "";
    ssize_t n = pread(fd, owner, sizeof owner - 1, 0);
    long pid = n > 0 ? atol(owner) : 0;
    if (pid == (long)getpid())
        return err_set(err, -EADDRINUSE,
                       "can't listen at %s: this process uses it already; choose another path",
                       text);
    if (pid > 0)
        return err_set(err, -EADDRINUSE,
                       "can't listen at %s: process %ld uses it; end that, or choose another path",
                       text, pid);
    return err_set(err, -EADDRINUSE,
                   "can't listen at %s: another process uses it; end that, or choose another path",
                   text);
}

static int take_lock(struct endpoint *endpoint, const char *text, struct err *err)
{
    char path[ENDPOINT_TEXT + sizeof LOCK_SUFFIX];
    snprintf(path, sizeof path, "%s" LOCK_SUFFIX, endpoint->path);
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return fail(err, text, -errno, path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            int ret =
                errno == EWOULDBLOCK ? refuse_locked(fd, text, err) : fail(err, text, -errno, path);
            close(fd);
            return ret;
        }
        if (!same_file(path, fd)) {
            close(fd);
            continue;
        }
        char pid[16];
        int length = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
        if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)length, 0) != length) {
            int ret = fail(err, text, -errno, path);
            close(fd);
            return ret;
        }
        endpoint->lock = fd;
        return 0;
    }
}

/* With the lock held: what stands at the path is left over, unless something else listens there. */
static int clear_path(const struct endpoint *endpoint, const char *text, struct err *err)
{
    struct stat found;
    if (lstat(endpoint->path, &found) < 0)
        return errno == ENOENT ? 0 : fail(err, text, -errno, endpoint->path);
    if (!S_ISSOCK(found.st_mode))
        return err_set(err, -EEXIST,
                       "can't listen at %s: there is something there that is no socket; remove it, "
                       "or choose another path",
                       text);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, endpoint->path, strlen(endpoint->path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(err, text, -errno, "socket");
    bool dead = connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EAGAIN;
    close(fd);
    if (!dead)
        return err_set(err, -EADDRINUSE,
                       "can't listen at %s: another program listens there; end that, or choose "
                       "another path",
                       text);
    if (unlink(endpoint->path) < 0)
        return fail(err, text, -errno, endpoint->path);
    return 0;
}

static int claim_ipc(struct endpoint *endpoint, const char *text, struct err *err)
{
    const char *path = text + strlen("ipc://");
    size_t most = sizeof((struct sockaddr_un){0}.sun_path) - 1;
    if (*path == '@' || *path == '*' || *path == '\0')
        return err_set(err, -EINVAL,
                       "can't listen at %s: a path is needed, as in ipc:///run/sluice/control.sock",
                       text);
    if (strlen(path) > most)
        return err_set(err, -ENAMETOOLONG,
                       "can't listen at %.60s…: the path is %zu bytes long, and Unix sockets take "
                       "%zu; choose a shorter one",
                       text, strlen(path), most);
    strcpy(endpoint->path, path);
    strcpy(endpoint->bind, text);
    int ret = make_folder(path, text, err);
    if (!ret)
        ret = take_lock(endpoint, text, err);
    if (!ret)
        ret = clear_path(endpoint, text, err);
    if (ret)
        endpoint_release(endpoint);
    return ret;
}

int endpoint_claim(struct endpoint *endpoint, const char *text, struct err *err)
{
    *endpoint = (struct endpoint){.lock = -1};
    if (strncmp(text, "ipc://", 6) == 0)
        return claim_ipc(endpoint, text, err);
    if (strlen(text) >= ENDPOINT_TEXT)
        return err_set(err, -ENAMETOOLONG, "can't listen at %.60s…: this is too long", text);
    if (strncmp(text, "tcp://", 6) == 0)
        return claim_tcp(endpoint, text, err);
    return err_set(err, -EINVAL,
                   "can't listen at %s: an endpoint is ipc://PATH or tcp://127.0.0.1:PORT", text);
}

void endpoint_bound(struct endpoint *endpoint, const char *last)
{
    snprintf(endpoint->shown, sizeof endpoint->shown, "%s", last);
    if (*endpoint->path)
        chmod(endpoint->path, 0600);
}

void endpoint_release(struct endpoint *endpoint)
{
    if (endpoint->lock < 0)
        return;
    char path[ENDPOINT_TEXT + sizeof LOCK_SUFFIX];
    if (*endpoint->shown)
        unlink(endpoint->path); /* libzmq leaves it */
    snprintf(path, sizeof path, "%s" LOCK_SUFFIX, endpoint->path);
    unlink(path); /* while it is locked: whoever opened it meanwhile sees that it is gone */
    close(endpoint->lock);
    endpoint->lock = -1;
}
