#include "actors/clients.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void unlink_client(struct clients *clients, struct client *client)
{
    *(client->newer ? &client->newer->older : &clients->newest) = client->older;
    *(client->older ? &client->older->newer : &clients->oldest) = client->newer;
    clients->count--;
}

static void link_newest(struct clients *clients, struct client *client)
{
    client->newer = NULL;
    client->older = clients->newest;
    *(clients->newest ? &clients->newest->newer : &clients->oldest) = client;
    clients->newest = client;
    clients->count++;
}

static void drop_oldest_reply(struct clients *clients, struct client *client)
{
    struct reply_kept *kept = &client->replies[client->first];
    client->first = (client->first + 1) % CLIENT_REPLIES;
    client->count--;
    client->bytes -= kept->size;
    clients->bytes -= kept->size;
    free(kept->data);
    kept->data = NULL;
}

static void drop_replies(struct clients *clients, struct client *client)
{
    while (client->count)
        drop_oldest_reply(clients, client);
}

static void forget(struct clients *clients, struct client *client)
{
    drop_replies(clients, client);
    unlink_client(clients, client);
    free(client);
}

void clients_free(struct clients *clients)
{
    while (clients->newest)
        forget(clients, clients->newest);
}

static bool forget_one(struct clients *clients)
{
    for (struct client *client = clients->oldest; client; client = client->newer)
        if (!client->in_flight) {
            forget(clients, client);
            return true;
        }
    return false;
}

/* A walk from the newest: those who ask are few, and near the front. */
struct client *clients_find(struct clients *clients, const void *identity, size_t size)
{
    struct client *client = clients->newest;
    assert(size <= CLIENT_IDENTITY_MAX);
    while (client &&
           (client->identity_size != size || memcmp(client->identity, identity, size) != 0))
        client = client->older;
    if (client) {
        unlink_client(clients, client);
    } else {
        if (clients->count >= CLIENTS_MAX && !forget_one(clients))
            return NULL;
        client = calloc(1, sizeof *client);
        if (!client)
            abort();
        memcpy(client->identity, identity, size);
        client->identity_size = size;
    }
    link_newest(clients, client);
    return client;
}

const struct reply_kept *client_recall(const struct client *client, uint64_t id)
{
    for (unsigned i = 0; i < client->count; i++) {
        const struct reply_kept *kept = &client->replies[(client->first + i) % CLIENT_REPLIES];
        if (kept->id == id)
            return kept;
    }
    return NULL;
}

static uint64_t *find_busy(const struct client *client, uint64_t id)
{
    for (unsigned i = 0; i < CLIENT_IN_FLIGHT; i++)
        if (client->busy[i] == id)
            return (uint64_t *)&client->busy[i];
    return NULL;
}

bool client_is_busy(const struct client *client, uint64_t id)
{
    return id && find_busy(client, id);
}

bool client_begin(struct client *client, uint64_t id)
{
    if (client->in_flight >= CLIENT_IN_FLIGHT)
        return false;
    client->in_flight++;
    if (id)
        *find_busy(client, 0) = id;
    return true;
}

static void remember(struct clients *clients, struct client *client, uint64_t id, const void *data,
                     size_t size)
{
    while (client->count &&
           (client->count == CLIENT_REPLIES || client->bytes + size > CLIENT_REPLY_BYTES))
        drop_oldest_reply(clients, client);
    struct reply_kept *kept = &client->replies[(client->first + client->count) % CLIENT_REPLIES];
    kept->id = id;
    kept->size = size;
    kept->data = malloc(size + 1);
    if (!kept->data)
        abort();
    memcpy(kept->data, data, size);
    client->count++;
    client->bytes += size;
    clients->bytes += size;
    for (struct client *other = clients->oldest; other && clients->bytes > CLIENTS_BYTES;
         other = other->newer)
        if (other != client)
            drop_replies(clients, other);
}

void client_end(struct clients *clients, struct client *client, uint64_t id, const void *data,
                size_t size)
{
    assert(client->in_flight > 0);
    client->in_flight--;
    if (!id)
        return;
    *find_busy(client, id) = 0;
    remember(clients, client, id, data, size);
}
