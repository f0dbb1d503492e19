/* limits_nbd.c — members of a throttle group seen from outside: NBD clients of whatever server, by
 * libnbd's asynchronous interface, all on one thread. */
#include "limits.h"

#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <stddef.h>

static struct nbd_handle *clients[LIMITS_MEMBERS];
static unsigned n_clients;
/* Completed, but not told: libnbd holds the handle's lock while it calls back, so nothing can be
 * submitted there. */
static struct request *ended;

static void check(int ret)
{
    if (ret < 0)
        limits_fail("%s", nbd_get_error());
}

void nbd_members_open(const char *const *uris, unsigned n)
{
    for (; n_clients < n; n_clients++) {
        struct nbd_handle *client = nbd_create();
        if (!client)
            limits_fail("%s", nbd_get_error());
        clients[n_clients] = client;
        check(nbd_connect_uri(client, uris[n_clients]));
    }
}

void nbd_members_close(void)
{
    while (n_clients) {
        nbd_shutdown(clients[--n_clients], 0);
        nbd_close(clients[n_clients]);
    }
}

/* NOLINTNEXTLINE(readability-non-const-parameter): libnbd gives the type. */
static int completed(void *opaque, int *error)
{
    struct request *request = opaque;
    if (*error)
        limits_fail("the server failed a read: error %d", *error);
    request->next = ended;
    ended = request;
    return 1; /* no more to be known of it */
}

void nbd_members_submit(unsigned member, struct request *request)
{
    int64_t ret =
        nbd_aio_pread(clients[member], limits_data, limits_bytes, 0,
                      (nbd_completion_callback){.callback = completed, .user_data = request}, 0);
    check(ret < 0 ? -1 : 0);
}

static void tell_ended(void)
{
    while (ended) {
        struct request *request = ended;
        ended = request->next;
        limits_done(request, 0);
    }
}

void nbd_members_wait(int ms)
{
    struct pollfd fds[LIMITS_MEMBERS];
    for (unsigned i = 0; i < n_clients; i++) {
        unsigned direction = nbd_aio_get_direction(clients[i]);
        fds[i].fd = nbd_aio_get_fd(clients[i]);
        fds[i].events = (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                                (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
    }
    if (poll(fds, n_clients, ended ? 0 : ms) < 0 && errno != EINTR)
        limits_fail("poll failed: error %d", errno);
    for (unsigned i = 0; i < n_clients; i++) {
        if (nbd_aio_is_dead(clients[i]) || nbd_aio_is_closed(clients[i]))
            limits_fail("the server has closed connection %u", i);
        if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
            check(nbd_aio_notify_read(clients[i]));
        else if (fds[i].revents & POLLOUT)
            check(nbd_aio_notify_write(clients[i]));
    }
    tell_ended();
}
