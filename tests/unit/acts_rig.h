/* acts_rig.h — all that can be asked of an engine, one act after the other, drawn from a seed and
 * sent without waiting: control requests, requests of frontends and what those who use backends do.
 * What was asked is noted here; test_at_once.c says what must come of it, and draws the graph. */
#ifndef ACTS_RIG_H
#define ACTS_RIG_H

#include "shown_rig.h"

#define HALF     (MIB / 2)
#define PLACE    4096 /* bytes of one place in the lower half */
#define ASKS     1500
#define REQUESTS 400
#define HOLDERS  3 /* of regions: the thread, and two of it */

enum acts_what { ACTS_NOTHING, ACTS_CLAIM, ACTS_UNNAMED, ACTS_REGION, ACTS_SESSION, ACTS_DEVICE };

struct acts_ask {
    struct stack_answer answer;
    bool seen;
    enum acts_what what; /* its success gives */
    actor_addr to;
    char text[160];
};

struct acts_request {
    struct stack_op op;
    bool seen;
    enum op_kind kind;
    actor_addr to;
    unsigned place, bytes; /* of a write to the lower half, or of a read of one */
    bool kept;             /* it is one of those */
    unsigned char data[PLACE];
};

struct acts {
    uint64_t random;
    struct acts_ask asks[ASKS];
    struct acts_request requests[REQUESTS];
    unsigned nasks, nrequests;
    actor_addr a, b, c; /* backends that stay */

    /* What was given, and has not been given back. */
    struct {
        uint64_t claim;
        actor_addr to;
        bool device, unnamed; /* what it is a claim of */
    } claims[ASKS];
    struct {
        uint64_t session;
        actor_addr to;
    } sessions[ASKS];
    uint64_t regions[ASKS];
    unsigned nclaims, nsessions, nregions;

    unsigned places;                 /* given out, */
    bool acknowledged[HALF / PLACE]; /* and what is known to be there: */
    unsigned bytes[HALF / PLACE];

    _Atomic uint32_t callbacks;     /* that have not returned, as sessions are told */
    unsigned char memory[4][PLACE]; /* to be registered */
};
extern struct acts acts;

uint64_t acts_draw(uint64_t n);
bool acts_chance(unsigned percent);
/* Tells it when STACK_TRACE is in the environment. */
void acts_trace(const char *what, const char *text, int64_t code);
/* A new one, noted under this text. */
struct acts_ask *acts_ask(enum acts_what what, actor_addr to, const char *text);
/* What the place is filled with. */
unsigned char acts_pattern(unsigned place);

/* The next act. */
void acts_act(void);
/* A backend that is claimed, or was. */
actor_addr acts_somebody(void);
/* Of those who use backends. */
void acts_drain(void);
void acts_claim(void);
void acts_set_claim(void);
void acts_claim_does(void);
void acts_open_session(void);
void acts_notify_session(void);
void acts_callbacks(void);
void acts_attach(void);
void acts_device_does(void);
void acts_device_is_asked(void);
void acts_buffer(void);
/* A control request, with a word drawn for each '$'. */
void acts_say(const char *sentence);
/* Give one of what was given back. */
void acts_end_region(void);
void acts_end_claim(void);
void acts_close_session(void);
/* The port answers all that it is called or told, now and from now on. */
void acts_answer_all(void);

#endif
