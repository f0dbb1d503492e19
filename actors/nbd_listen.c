#include "actors/nbd_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/descriptors.h"

/* Appends `text` to a URI under construction, with all but the characters that mean themselves
 * (RFC 3986's unreserved ones and those of `also`) percent-encoded. */
static void uri_append(FILE *out, const char *text, const char *also)
{
    static const char unreserved[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789-._~";
    for (; *text; text++) {
        if (strchr(unreserved, *text) || strchr(also, *text))
            fputc(*text, out);
        else
            fprintf(out, "%%%02X", (unsigned char)*text);
    }
}

static int no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "there is no memory to listen on a socket");
}

static char *unix_uri(const char *path, const char *name)
{
    char *uri = NULL;
    size_t size;
    FILE *out = open_memstream(&uri, &size);
    if (!out)
        return NULL;
    fputs("nbd+unix:///", out);
    uri_append(out, name, "");
    fputs("?socket=", out);
    uri_append(out, path, "/");
    fclose(out);
    return uri;
}

static char *tcp_uri(const char *host, unsigned port, const char *name)
{
    char *uri = NULL;
    size_t size;
    FILE *out = open_memstream(&uri, &size);
    if (!out)
        return NULL;
    fprintf(out, strchr(host, ':') ? "nbd://[%s]:%u/" : "nbd://%s:%u/", host, port);
    uri_append(out, name, "");
    fclose(out);
    return uri;
}

/* Clients may run in another directory than the daemon. */
static char *absolute(const char *path)
{
    char *out = NULL;
    if (path[0] == '/')
        return strdup(path);
    char *here = getcwd(NULL, 0);
    if (here && asprintf(&out, "%s/%s", here, path) < 0)
        out = NULL;
    free(here);
    return out;
}

/* Whether somebody serves the socket that `probe` was connected to. A process that was killed can
 * leave a socket that still takes connections, until the kernel has ended what its ring was doing;
 * so it also counts whether the process that listened is there. */
static bool is_served(int probe)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    return getsockopt(probe, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid <= 0 ||
           kill(peer.pid, 0) == 0 || errno != ESRCH;
}

/* Makes way for a socket at `address` when a dead one lies there; refuses when anything else does.
 */
static int take_over(const struct sockaddr_un *address, struct err *err)
{
    struct stat st;
    if (lstat(address->sun_path, &st) < 0)
        return errno == ENOENT ? 0
                               : err_field(err, "unix", -errno, "can't listen on %s: %s",
                                           address->sun_path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return err_field(err, "unix", -EEXIST,
                         "can't listen on %s: something that is not a socket is there; give "
                         "another path, or remove it",
                         address->sun_path);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return err_set(err, -errno, "can't make a socket: %s", strerror(errno));
    bool dead = connect(probe, (const struct sockaddr *)address, sizeof(*address)) < 0
                    ? errno == ECONNREFUSED
                    : !is_served(probe);
    close(probe);
    if (!dead)
        return err_field(err, "unix", -EADDRINUSE,
                         "can't listen on %s: another server listens there; give another path, or "
                         "end that server",
                         address->sun_path);
    if (unlink(address->sun_path) < 0 && errno != ENOENT)
        return err_field(err, "unix", -errno, "can't remove the dead socket %s: %s",
                         address->sun_path, strerror(errno));
    return 0;
}

static int listen_unix(struct nbd_listener *listener, const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path[0])
        return err_field(err, "unix", -EINVAL, "the path of the socket to listen on is empty");
    if (strlen(path) >= sizeof(address.sun_path))
        return err_field(
            err, "unix", -ENAMETOOLONG,
            "the socket path %.120s… has %zu bytes, more than the system's %zu; give a "
            "shorter one",
            path, strlen(path), sizeof(address.sun_path) - 1);
    strcpy(address.sun_path, path);
    int ret = take_over(&address, err);
    if (ret < 0)
        return ret;
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0)
        return err_set(err, -errno, "can't make a socket: %s", strerror(errno));
    struct stat st;
    if (bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener->fd, SOMAXCONN) < 0 || lstat(path, &st) < 0)
        return err_field(err, "unix", -errno, "can't listen on %s: %s", path, strerror(errno));
    listener->path = absolute(path);
    listener->dev = st.st_dev;
    listener->ino = st.st_ino;
    return listener->path ? 0 : no_memory(err);
}

static int listen_tcp(struct nbd_listener *listener, const char *host, uint32_t port,
                      struct err *err)
{
    if (port > UINT16_MAX)
        return err_field(err, "port", -EINVAL,
                         "the port %u does not exist; ports go from 0 (any free one) to 65535",
                         port);
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *info = NULL;
    const char *numeric = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (getaddrinfo(numeric, service, &hints, &info) != 0)
        return err_field(err, "host", -EINVAL,
                         "can't listen on \"%.200s\": that is no address; give one of this machine "
                         "as a number, such as 127.0.0.1 or ::1",
                         host);
    int ret = 0;
    const int on = 1;
    listener->fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (listener->fd < 0) {
        ret = err_set(err, -errno, "can't make a socket: %s", strerror(errno));
    } else {
        setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(listener->fd, info->ai_addr, info->ai_addrlen) < 0 ||
            listen(listener->fd, SOMAXCONN) < 0)
            ret = err_field(err, errno == EADDRNOTAVAIL ? "host" : "port", -errno,
                            "can't listen on %s port %u: %s", host, port, strerror(errno));
    }
    freeaddrinfo(info);
    return ret;
}

/* The port that was taken, when any would do. */
static unsigned bound_port(int fd)
{
    union {
        struct sockaddr_in6 v6;
        struct sockaddr_in v4;
        struct sockaddr any;
    } address = {.v6 = {0}};
    socklen_t size = sizeof(address);
    if (getsockname(fd, &address.any, &size) < 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

int nbd_listen(struct nbd_listener *listener, const Sluice__ExportAdd *spec, struct err *err)
{
    *listener = (struct nbd_listener){.fd = -1};
    int ret;
    if (spec->unix) {
        ret = listen_unix(listener, spec->unix, err);
        if (ret == 0)
            listener->uri = unix_uri(listener->path, spec->name);
    } else {
        ret = listen_tcp(listener, spec->host, spec->port, err);
        if (ret == 0)
            listener->uri = tcp_uri(spec->host, bound_port(listener->fd), spec->name);
    }
    if (ret == 0 && !listener->uri)
        ret = no_memory(err);
    if (ret == 0 && !descriptors_suffice(listener->fd))
        ret = err_set(err, -EMFILE,
                      "can't listen at %s: too few file descriptors are left; raise their limit "
                      "(ulimit -n)",
                      listener->uri);
    if (ret < 0)
        nbd_unlisten(listener);
    return ret;
}

void nbd_unlisten(struct nbd_listener *listener)
{
    struct stat st;
    if (listener->path && lstat(listener->path, &st) == 0 && st.st_dev == listener->dev &&
        st.st_ino == listener->ino)
        unlink(listener->path);
    if (listener->fd >= 0)
        close(listener->fd);
    free(listener->path);
    free(listener->uri);
    *listener = (struct nbd_listener){.fd = -1};
}
