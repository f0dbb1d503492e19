/* Members of throttle groups: their requests that wait, and what is counted. */
#include "actors/throttle_impl.h"

#include <stdlib.h>

#include "engine/mem.h"

#define CANCELLED UINT64_MAX          /* in place of a request's bytes */
#define GONE      (UINT64_C(1) << 63) /* beside them: it is only to be paid */

/* --- Counts */

static void count(const struct throttle_tree *tree, struct throttle_counts *counts, int64_t change)
{
    counts->waited += counts->waiting * (tree->now - counts->since);
    counts->since = tree->now;
    counts->waiting += (uint64_t)change;
    counts->held += change > 0;
}

static void count_waiting(const struct throttle_tree *tree, struct throttle_place *place,
                          int64_t change)
{
    if (!change)
        return;
    count(tree, &place->counts, change);
    for (struct throttle_group *group = place->group; group; group = group->parent)
        count(tree, &group->counts, change);
}

/* For the rates of a member and all its groups, in operations as each of them counts. */
static void count_passed(const struct throttle_tree *tree, struct throttle_place *place,
                         uint64_t bytes)
{
    rate_add(&place->counts.rate, tree->now, limits_ops(place->group->limits.iops_size, bytes),
             (double)bytes);
    for (struct throttle_group *group = place->group; group; group = group->parent)
        rate_add(&group->counts.rate, tree->now, limits_ops(group->limits.iops_size, bytes),
                 (double)bytes);
}

uint64_t throttle_waited(const struct throttle_tree *tree, const struct throttle_counts *counts)
{
    return counts->waited + counts->waiting * (tree->now - counts->since);
}

/* --- Queues */

static uint64_t *bytes_at(const struct throttle_queue *queue, uint64_t number)
{
    return &queue->bytes[number & (queue->capacity - 1)];
}

uint64_t throttle_head(const struct throttle_place *place, unsigned direction)
{
    const struct throttle_queue *queue = &place->queues[direction];
    return *bytes_at(queue, queue->head) & ~GONE;
}

static void put(struct throttle_queue *queue, uint64_t bytes)
{
    size_t n = queue->tail - queue->head;
    if (n == queue->capacity) {
        size_t capacity = n ? 2 * n : 64;
        uint64_t *more = mem_new(capacity * sizeof *more);
        for (uint64_t number = queue->head; number < queue->tail; number++)
            more[number & (capacity - 1)] = *bytes_at(queue, number);
        free(queue->bytes);
        queue->bytes = more;
        queue->capacity = capacity;
    }
    *bytes_at(queue, queue->tail++) = bytes;
}

/* Steps over those that were cancelled. The flow of an empty queue has no turns. */
static void settle(struct throttle_place *place, unsigned direction)
{
    struct throttle_queue *queue = &place->queues[direction];
    while (queue->head < queue->tail && *bytes_at(queue, queue->head) == CANCELLED)
        queue->head++;
    if (queue->head == queue->tail)
        throttle_unlink(&place->flows[direction]);
}

void throttle_wait(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                   uint64_t bytes)
{
    put(&place->queues[direction], bytes & ~GONE);
    count_waiting(tree, place, 1);
    throttle_link(&place->flows[direction]);
}

void throttle_owe(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                  uint64_t bytes)
{
    put(&place->queues[direction], bytes | GONE);
    count_passed(tree, place, bytes);
    throttle_link(&place->flows[direction]);
}

static bool waits(const struct throttle_queue *queue, uint64_t number)
{
    return number >= queue->head && number < queue->tail && !(*bytes_at(queue, number) & GONE);
}

void throttle_through(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                      uint64_t number)
{
    struct throttle_queue *queue = &place->queues[direction];
    int64_t n = 0;
    for (uint64_t at = queue->head; at < number && at < queue->tail; at++) {
        if (!waits(queue, at))
            continue;
        count_passed(tree, place, *bytes_at(queue, at)); /* now, and not when they are paid */
        *bytes_at(queue, at) |= GONE;
        n++;
    }
    count_waiting(tree, place, -n);
}

void throttle_cancel(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                     uint64_t number)
{
    struct throttle_queue *queue = &place->queues[direction];
    if (!waits(queue, number))
        return; /* it has gone meanwhile */
    count_waiting(tree, place, -1);
    *bytes_at(queue, number) = CANCELLED;
    settle(place, direction);
}

/* --- Members */

static void add_news(struct throttle_tree *tree, struct throttle_place *place)
{
    if (place->is_news)
        return;
    place->is_news = true;
    place->next_news = tree->news;
    tree->news = place;
}

void throttle_place_free(struct throttle_tree *tree, struct throttle_place *place)
{
    struct throttle_place **at = &tree->places;
    while (*at != place)
        at = &(*at)->next;
    *at = place->next;
    for (at = &tree->news; place->is_news && *at; at = &(*at)->next_news)
        if (*at == place) {
            *at = place->next_news;
            break;
        }
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
        throttle_unlink(&place->flows[d]);
        free(place->queues[d].bytes);
    }
    free(place->name);
    free(place);
}

static bool owes(const struct throttle_place *place)
{
    return place->flows[THROTTLE_READ].next || place->flows[THROTTLE_WRITE].next;
}

void throttle_pop(struct throttle_tree *tree, struct throttle_place *place, unsigned direction)
{
    struct throttle_queue *queue = &place->queues[direction];
    uint64_t bytes = throttle_head(place, direction);
    bool waited = waits(queue, queue->head);
    queue->head++;
    if (waited) {
        count_passed(tree, place, bytes);
        count_waiting(tree, place, -1);
        add_news(tree, place);
    }
    settle(place, direction);
    if (place->left && !owes(place))
        throttle_place_free(tree, place);
}

/* Handles are not used again before a seat was taken 2^32 times. */
static void sit_down(struct throttle_tree *tree, struct throttle_place *place)
{
    uint32_t number = tree->free_seat;
    if (number == tree->nseats) {
        tree->nseats = number ? 2 * number : 4;
        tree->seats = mem_resize(tree->seats, tree->nseats * sizeof *tree->seats);
        for (uint32_t i = number; i < tree->nseats; i++)
            tree->seats[i] = (struct throttle_seat){.next_free = i + 1};
    }
    struct throttle_seat *seat = &tree->seats[number];
    tree->free_seat = seat->next_free;
    seat->place = place;
    place->handle = (uint64_t)++seat->taken << 32 | number;
}

static void stand_up(struct throttle_tree *tree, const struct throttle_place *place)
{
    struct throttle_seat *seat = &tree->seats[(uint32_t)place->handle];
    seat->place = NULL;
    seat->next_free = tree->free_seat;
    tree->free_seat = (uint32_t)place->handle;
}

struct throttle_place *throttle_enter(struct throttle_tree *tree, struct throttle_group *group,
                                      const char *name, uint64_t key)
{
    struct throttle_place *place = MEM_NEW(struct throttle_place);
    place->group = group;
    place->name = mem_string(name);
    place->key = key;
    place->counts.since = tree->now;
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++)
        throttle_flow_init(&place->flows[d], d, group, NULL, place);
    sit_down(tree, place);
    place->next = tree->places;
    tree->places = place;
    for (; group; group = group->parent)
        group->members++;
    return place;
}

struct throttle_place *throttle_find(const struct throttle_tree *tree, uint64_t handle)
{
    uint32_t number = (uint32_t)handle;
    const struct throttle_seat *seat = number < tree->nseats ? &tree->seats[number] : NULL;
    return seat && seat->taken == handle >> 32 ? seat->place : NULL;
}

void throttle_leave(struct throttle_tree *tree, struct throttle_place *place)
{
    for (unsigned d = 0; d < THROTTLE_DIRECTIONS; d++) {
        throttle_return(place, d);
        struct throttle_queue *queue = &place->queues[d];
        for (uint64_t at = queue->head, tail = queue->tail; at < tail; at++)
            throttle_cancel(tree, place, d, at);
    }
    for (struct throttle_group *group = place->group; group; group = group->parent)
        group->members--;
    place->left = true;
    stand_up(tree, place);
    if (!owes(place))
        throttle_place_free(tree, place);
}
