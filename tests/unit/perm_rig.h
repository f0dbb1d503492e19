/* perm_rig.h — permissions in a whole stepped engine: claims, and what they come to. */
#ifndef PERM_RIG_H
#define PERM_RIG_H

#include "shown_rig.h"

#define READ   PERM_CONSISTENT_READ
#define SHARED (PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED)
#define ALL    "consistent-read,write,write-unchanged,resize,graph-mod"

/* What a backend has and shares, as ALL is written. */
void perm_assert(const char *backend, const char *permissions, const char *shares);
/* What is had of a node, and what all share. */
void perm_assert_node(const char *node, const char *permissions, const char *shares);

/* Claims a backend, which must be had. */
const Sluice__Claimed *perm_claim(const char *backend, unsigned perm, unsigned shared);
/* Asks for other permissions of a claim; the second one waits for the answer. */
void perm_ask_set(struct stack_answer *answer, uint64_t claim, unsigned perm, unsigned shared);
struct stack_answer perm_set(uint64_t claim, unsigned perm, unsigned shared);

#endif
