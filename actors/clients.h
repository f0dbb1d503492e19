/* clients.h — who asks over the control socket, what they have under way, and their last replies.
 *
 * A client is known by its ZeroMQ routing id. A request that comes again with the same id gets the
 * reply that it got, or, while it is under way, the one that it will get. All of it is bounded: of
 * clients, the one that was silent for longest is forgotten first; of replies, the oldest. */
#ifndef SLUICE_CLIENTS_H
#define SLUICE_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENTS_MAX         256
#define CLIENTS_BYTES       (16 << 20) /* of all remembered replies */
#define CLIENT_REPLIES      128        /* remembered for one client */
#define CLIENT_REPLY_BYTES  (2 << 20)  /* their bytes, but for the newest one */
#define CLIENT_IN_FLIGHT    64         /* requests under way of one client */
#define CLIENT_IDENTITY_MAX 255        /* bytes of a routing id */

struct reply_kept {
    uint64_t id;
    uint8_t *data; /* packed */
    size_t size;
};

struct client {
    struct client *newer, *older; /* by when it was last heard of */
    uint8_t identity[CLIENT_IDENTITY_MAX];
    size_t identity_size;
    unsigned in_flight;
    uint64_t busy[CLIENT_IN_FLIGHT]; /* ids under way; 0: a free place */
    struct reply_kept replies[CLIENT_REPLIES];
    unsigned first, count; /* ring of replies, the oldest first */
    size_t bytes;          /* of the replies */
};

struct clients {
    struct client *newest, *oldest;
    unsigned count;
    size_t bytes;
};

void clients_free(struct clients *clients);

/* The client with this routing id, made when it is new. Null when there are too many, all with
 * requests under way. */
struct client *clients_find(struct clients *clients, const void *identity, size_t size);

/* The reply that the client's request with this id got, or null. */
const struct reply_kept *client_recall(const struct client *client, uint64_t id);

/* Whether the request with this id is under way. */
bool client_is_busy(const struct client *client, uint64_t id);

/* A request of this id (0 too) begins. False when too many are under way. */
bool client_begin(struct client *client, uint64_t id);

/* It ends; its packed reply, which is copied, is remembered unless the id is 0. */
void client_end(struct clients *clients, struct client *client, uint64_t id, const void *data,
                size_t size);

#endif
