/* limits.h — what sluice-limits shares: requests, and what they are sent to. */
#pragma once

#include <stdint.h>

struct member;

/* One of those that a member keeps outstanding. It reads at offset 0; what it reads is not looked
 * at. */
struct request {
    struct member *member;
    struct request *next; /* in a list of whoever has it */
    uint64_t started;     /* ns */
};

#define LIMITS_BYTES   (1U << 20) /* of one, at most */
#define LIMITS_MEMBERS 64
#define LIMITS_DEPTH   256

extern char limits_data[LIMITS_BYTES];
extern uint64_t limits_bytes; /* of each */

/* Is called once for each request that was submitted, with 0 or a negative errno; may submit it
 * again. */
void limits_done(struct request *request, int ret);

/* Ends the program with this sentence. */
_Noreturn void limits_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- limits_nbd.c: members that are NBD clients, each with a connection of its own */

void nbd_members_open(const char *const *uris, unsigned n);
void nbd_members_close(void);
void nbd_members_submit(unsigned member, struct request *request);
/* Waits for this many ms at most until something has completed. */
void nbd_members_wait(int ms);
