/* member_rig.h — members of throttle groups as they are (drivers/throttle_member.h), each in an
 * actor of its own, and the groups' actor as it is, on the reactors of rig.h in virtual time.
 * Members always have so many requests under way, which take no time once they have passed.
 *
 * Each request that passes is held against the window rule of all groups that it passes (see
 * window_rig.h), and the order of its member and direction. */
#ifndef MEMBER_RIG_H
#define MEMBER_RIG_H

#include "rig.h"

#include "actors/limits.h"
#include "drivers/throttle_member.h"

#define MEMBER_DEPTH 128

/* A member's requests of one direction. */
struct member_stream {
    unsigned depth;       /* requests at a time, at most MEMBER_DEPTH */
    uint64_t bytes;       /* of each */
    uint64_t think;       /* ns from the end of one to the next */
    uint64_t small_every; /* each so many-th has 512 bytes; 0: none */
    uint64_t keeps_every; /* each so many-th keeps limits when others are let through; 0: none */
    bool at_once;         /* with one that passes the next may come before that returns */
    /* Since members_measure(): */
    uint64_t passed, passed_bytes;
    /* The rig's own. */
    unsigned running;        /* that were begun, and either wait or think */
    uint64_t begun, next[2]; /* by whether it keeps limits */
    uint64_t due[MEMBER_DEPTH], first_due, end_due;
};

struct member {
    struct throttle_member throttle;
    actor_addr address;
    struct actor *self;
    uint64_t group; /* 0: none */
    uint64_t asks;  /* messages to its group, since members_measure() */
    struct member_stream streams[2];
    struct timer timer;
    bool pumping, opening, through;
    unsigned nested; /* that came at once, of one time */
    struct ticket closer;
};

/* Groups have numbers from 1, the root, on. */
void members_up(const struct limits *root);
/* All that waits has passed by then, or goes, and nothing is left. */
void members_down(void);
uint64_t members_group(uint64_t parent, const struct limits *limits);
/* Other limits; returns when they are in force, from when on the window rule counts anew. */
void members_set(uint64_t group, const struct limits *limits);
const Sluice__ThrottleInfo *members_show(uint64_t group);

struct member *members_add(uint64_t group);
/* Goes to another group, or none (0), with what waits. */
void members_join(struct member *member, uint64_t group);
/* From now on it has so many requests under way; fewer do not end those that are. */
void members_start(struct member *member, unsigned direction, unsigned depth, uint64_t bytes,
                   uint64_t think);
/* The oldest one that waits does not any more. */
void members_cancel(struct member *member, unsigned direction);

/* What waits goes, and what does not keep limits passes, until it is closed. */
void members_open(struct member *member, bool open);

/* What was measured is forgotten. */
void members_measure(void);
/* Requests of all members, and messages to groups, since then. */
uint64_t members_passed(void);
uint64_t members_asks(void);

#endif
