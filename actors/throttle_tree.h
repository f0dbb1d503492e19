/* throttle_tree.h — a tree of throttle groups: which of the requests that wait may go, and when;
 * and what may be leased. It knows no actors: the time is given, and what happened is found in
 * `news`.
 *
 * A request passes its member's group and all groups above that in one decision: it goes when none
 * of their buckets is over its size, and is accounted in all of them. Among those that wait, turns
 * are taken by deficit round robin (Shreedhar and Varghese, 1995), in each group and direction;
 * what a request costs there is the time for which it fills the group's tightest bucket. Between
 * the directions, that goes first which has had less, in each group: at the root, and in those
 * below that can let go only one more. A group that can let nothing go takes no turns in its parent
 * until it can.
 *
 * A lease is room that is reserved for a member before it has anything to spend it on. There are
 * none where a limit holds requests back. */
#ifndef SLUICE_THROTTLE_TREE_H
#define SLUICE_THROTTLE_TREE_H

#include <stddef.h>

#include "actors/limits.h"
#include "engine/rate.h"
#include "engine/timer.h"

#define THROTTLE_DEPTH 8 /* groups above each other, at most */

enum throttle_direction { THROTTLE_READ, THROTTLE_WRITE, THROTTLE_DIRECTIONS };

/* Requests of one direction that wait somewhere, in a group: a member's, or those of a group in it.
 */
struct throttle_flow {
    struct throttle_flow *next, *previous; /* in the ring; null while it takes no turns: */
    struct timer blocked; /* nothing waits, or limits of groups in this one hold it until then */
    unsigned direction;
    struct throttle_group *in;
    struct throttle_group *sub;   /* whose they are, */
    struct throttle_place *place; /* or whose */
    double deficit;
};

/* Flows that take turns. */
struct throttle_ring {
    struct throttle_flow *head;
    size_t n;
    bool visiting;           /* the head has had its quantum of this turn */
    double quantum, highest; /* what a turn is worth; the highest cost seen in this round */
    size_t left;             /* turns of this round */
    struct timers blocked;   /* flows that come back at their times */
};

/* Counts of a member or a group. */
struct throttle_counts {
    uint64_t waiting;       /* requests that wait */
    uint64_t held;          /* that have waited, or do */
    uint64_t waited, since; /* ns that they have waited, all together, until `since` */
    struct rate rate;       /* what went through */
};

struct throttle_group {
    struct throttle_group *next; /* of all in the tree */
    struct throttle_group *parent;
    uint64_t id;
    char *name;
    struct limits limits;
    struct bucket buckets[LIMITS];
    uint64_t leaked;                     /* until when, ns */
    uint64_t opens[THROTTLE_DIRECTIONS]; /* from then on, ns; 0: not known */
    struct throttle_ring rings[THROTTLE_DIRECTIONS];
    struct throttle_flow flows[THROTTLE_DIRECTIONS]; /* in the parent */
    double balance; /* of the limits that both share: what reads had, less what writes had */
    uint64_t leased_requests[THROTTLE_DIRECTIONS], leased_bytes[THROTTLE_DIRECTIONS];
    size_t members; /* of it, and of groups in it */
    bool recalls;   /* its limits were changed, and leases from before may still be out */
    struct throttle_counts counts;
    /* For who tells of it: see throttle.c. */
    bool limiting;
    uint64_t limiting_since, idle_since; /* ns; 0: requests wait */
    uint64_t held_before, waited_before; /* counts, when it began */
};

struct throttle_lease {
    uint64_t requests, bytes; /* UINT64_MAX: without limit */
};

/* A member's place in its group. */
struct throttle_place {
    struct throttle_place *next; /* of all in the tree */
    struct throttle_group *group;
    char *name;
    uint64_t key;    /* its address */
    uint64_t handle; /* see throttle_find() */
    bool left;       /* only what it owes is here */
    bool recalled;   /* it is to give back what it has leased */
    struct throttle_queue {
        uint64_t *bytes;     /* a ring; those that have gone, and are to be paid, are marked */
        size_t capacity;     /* a power of 2, or 0 */
        uint64_t head, tail; /* numbers of the first one that waits, and of the next to come */
    } queues[THROTTLE_DIRECTIONS];
    struct throttle_flow flows[THROTTLE_DIRECTIONS];
    struct throttle_lease leases[THROTTLE_DIRECTIONS];
    struct throttle_counts counts;
    struct throttle_place *next_news; /* that some of its requests may go */
    bool is_news;
};

/* By handles: a seat's number, and how often it has been taken in the upper half. */
struct throttle_seat {
    struct throttle_place *place; /* null: free */
    uint32_t taken, next_free;
};

struct throttle_tree {
    struct throttle_group *root, *groups;
    struct throttle_place *places;
    struct throttle_seat *seats;
    uint32_t nseats, free_seat;  /* the first one; nseats: none */
    uint64_t now;                /* ns */
    struct throttle_place *news; /* see throttle_dispatch() */
    bool insisted;               /* a group let nothing go of one direction for the other's sake */
};

void throttle_tree_fini(struct throttle_tree *tree);

/* The first one, without a parent, is the root. */
struct throttle_group *throttle_group_add(struct throttle_tree *tree, uint64_t id, const char *name,
                                          struct throttle_group *parent,
                                          const struct limits *limits);
struct throttle_group *throttle_group_find(const struct throttle_tree *tree, uint64_t id);
/* Empties its levels. What is leased stays. */
void throttle_group_set(struct throttle_tree *tree, struct throttle_group *group,
                        const struct limits *limits);
/* Without members and groups in it. */
void throttle_group_remove(struct throttle_tree *tree, struct throttle_group *group);

struct throttle_place *throttle_enter(struct throttle_tree *tree, struct throttle_group *group,
                                      const char *name, uint64_t key);
/* What waits is forgotten, and what it has leased is free. What it owes is paid by turns, as long
 * as that takes. */
void throttle_leave(struct throttle_tree *tree, struct throttle_place *place);
/* The member that has this handle, or null when it has left. */
struct throttle_place *throttle_find(const struct throttle_tree *tree, uint64_t handle);

/* One more request waits. */
void throttle_wait(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                   uint64_t bytes);
/* One more has gone without having waited: it is to be paid in its turn. It has a number, too. */
void throttle_owe(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                  uint64_t bytes);
/* Requests with lower numbers have gone without being asked for. */
void throttle_through(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                      uint64_t number);
/* The request with this number does not wait any more. */
void throttle_cancel(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                     uint64_t number);

/* Requests that were paid from a lease; `beyond` tells by depth, from the member's group up, what
 * they count beyond one operation each. */
void throttle_spent(struct throttle_tree *tree, struct throttle_place *place, unsigned direction,
                    uint64_t requests, uint64_t bytes, const double *beyond, size_t depth);
/* Leases at most that; returns what was leased. Adds to what the member has. What may go by then
 * goes first: see throttle_dispatch(). */
struct throttle_lease throttle_lease(struct throttle_tree *tree, struct throttle_place *place,
                                     unsigned direction, struct throttle_lease want);
/* It has given back all that it did not spend. */
void throttle_return(struct throttle_place *place, unsigned direction);
/* Whether it has anything left of leases, be it too little to spend: that is added to the next. */
static inline bool throttle_has_lease(const struct throttle_place *place)
{
    const struct throttle_lease *reads = &place->leases[THROTTLE_READ];
    const struct throttle_lease *writes = &place->leases[THROTTLE_WRITE];
    return reads->requests || reads->bytes || writes->requests || writes->bytes;
}

/* Lets go what may go now. Places where something has are in `news` then: each queue's `head` tells
 * how far. */
void throttle_dispatch(struct throttle_tree *tree);
/* Whether requests wait for the limits of this very group, and not for those of groups in it. */
bool throttle_holds(const struct throttle_tree *tree, struct throttle_group *group);
/* When to do so again, if nothing else happens: absolute, or UINT64_MAX. */
uint64_t throttle_next(struct throttle_tree *tree);

/* Waiting time until now. */
uint64_t throttle_waited(const struct throttle_tree *tree, const struct throttle_counts *counts);

#endif
