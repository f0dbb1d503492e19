/* limited_rig.h — backends in throttle groups, in a whole stepped engine, and requests that wait.
 */
#ifndef LIMITED_RIG_H
#define LIMITED_RIG_H

#include "shown_rig.h"

/* A backend on a null node, as a member of the group; its address. */
actor_addr limited_backend(const char *name, const char *group);
/* Submits `n` requests at offset 0, and settles. */
void limited_submit(struct stack_op *all, unsigned n, actor_addr to, enum op_kind kind,
                    uint64_t bytes);
/* How many of the first `n` have come; each with success. */
unsigned limited_came(const struct stack_op *all, unsigned n);
/* What has come of the first `n` came in their order. */
void limited_in_order(const struct stack_op *all, unsigned n);

const Sluice__ThrottleInfo *limited_group(const char *name);
/* The name of the group that the backend is in; "" for none. */
const char *limited_group_of(const char *backend);

#endif
