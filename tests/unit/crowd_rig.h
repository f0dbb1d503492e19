/* crowd_rig.h — a crowd: throttle groups with members that always have so many requests under way,
 * in virtual time. They wait for each: of leases see member_rig.h.
 *
 * Each request that goes is held against the window rule of all groups that it passes (see
 * window_rig.h). */
#ifndef CROWD_RIG_H
#define CROWD_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/throttle_tree.h"
#include "window_rig.h"

#define US  UINT64_C(1000)
#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)
#define KIB UINT64_C(1024)
#define MIB UINT64_C(1048576)
#define GIB UINT64_C(1073741824)

#define CROWD_MEMBERS 128
#define CROWD_GROUPS  8
#define CROWD_DEPTH   64

/* A member's requests of one direction. */
struct crowd_stream {
    unsigned depth; /* requests at a time, at most CROWD_DEPTH */
    uint64_t bytes; /* of each */
    uint64_t think; /* ns from the end of one to the next */
    /* Since crowd_measure(): */
    uint64_t passed, passed_bytes;
    uint64_t slowest; /* ns */
    /* The crowd's own. */
    unsigned running; /* that were begun, and either wait or think */
    uint64_t asked[CROWD_DEPTH];
    uint64_t gone, due[CROWD_DEPTH], first_due, end_due;
};

struct crowd_member {
    struct throttle_place *place;
    struct crowd_stream streams[THROTTLE_DIRECTIONS];
};

struct crowd_window {
    struct throttle_group *group;
    struct window window;
};

struct crowd {
    struct throttle_tree tree;
    struct crowd_member members[CROWD_MEMBERS];
    size_t n;
    struct crowd_window windows[CROWD_GROUPS];
    size_t groups;
    bool eager;       /* what waits is looked at with each request, not with all of the same time */
    uint64_t soonest; /* when a member has something to do */
    uint64_t measured_since;
    uint64_t *latencies;
    size_t nlatencies, capacity;
};

static inline struct limits crowd_limits(unsigned number, double average)
{
    struct limits limits = LIMITS_NONE;
    limits.limit[number].average = average;
    return limits;
}

struct crowd *crowd_new(const struct limits *root);
void crowd_free(struct crowd **crowd);
struct throttle_group *crowd_group(struct crowd *crowd, struct throttle_group *parent,
                                   const struct limits *limits);
/* Other limits, from which the window rule counts anew. */
void crowd_set(struct crowd *crowd, struct throttle_group *group, const struct limits *limits);
/* A member of the group that has nothing to do yet. */
struct crowd_member *crowd_member(struct crowd *crowd, struct throttle_group *group);
/* From now on it has so many requests under way; fewer do not end those that are. */
void crowd_start(struct crowd *crowd, struct crowd_member *member, unsigned direction,
                 unsigned depth, uint64_t bytes, uint64_t think);
/* So many members, all of the root, with reads like that. */
void crowd_fill(struct crowd *crowd, size_t n, unsigned depth, uint64_t bytes, uint64_t think);
/* What was measured is forgotten. */
void crowd_measure(struct crowd *crowd);
/* Lets time pass. */
void crowd_run(struct crowd *crowd, uint64_t ns);

/* --- What was measured */

/* Requests of all members, per second. */
double crowd_rate(const struct crowd *crowd);
double crowd_rate_of(const struct crowd *crowd, const struct crowd_member *member,
                     unsigned direction);
double crowd_bytes_rate_of(const struct crowd *crowd, const struct crowd_member *member,
                           unsigned direction);
/* Jain's index of what members passed; 1: all the same. */
double crowd_jain(const struct crowd *crowd);
/* What the member with most has more than that with least. */
uint64_t crowd_spread(const struct crowd *crowd);
uint64_t crowd_p99(struct crowd *crowd); /* ns */

/* Fails unless `value` is that, or so much of it off. */
void crowd_near(double value, double expected, double part, const char *file, int line);
#define assert_near(value, expected, part) crowd_near(value, expected, part, __FILE__, __LINE__)

#endif
