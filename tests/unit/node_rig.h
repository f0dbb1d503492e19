/* node_rig.h — nodes on the rig: opening and closing them, and what they tell. */
#ifndef NODE_RIG_H
#define NODE_RIG_H

#include "actors/node.h"
#include "rig.h"

struct node_rig {
    struct err err;            /* of the last rig_try() that failed */
    struct driver_facts facts; /* of the node opened last */
    unsigned told;             /* NODE_CHANGED that came, and the facts in the last */
    struct driver_facts change;
};
extern struct node_rig rig;

/* For each test. */
int rig_setup(void **state);
int rig_teardown(void **state);
#define RIG_TEST(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

/* What opens a node; `options`: "key=value key=value". */
Sluice__NodeOpen *rig_spec(const char *name, const char *driver, actor_addr child,
                           const char *options);
/* Opens a node on `child` (0: on none); its address, or 0 with rig.err. */
actor_addr rig_try(const char *name, const char *driver, actor_addr child, const char *options);
/* The same, and it must work. */
actor_addr rig_open(const char *name, const char *driver, actor_addr child, const char *options);
/* The same on two. */
actor_addr rig_try_over(const char *name, const char *driver, actor_addr child, actor_addr backing,
                        const char *options);
actor_addr rig_open_over(const char *name, const char *driver, actor_addr child, actor_addr backing,
                         const char *options);
/* NODE_SET of one option; 0 or what it was refused with. Runs. */
int rig_set(actor_addr node, const char *key, const char *value);
/* What a mock was sent, as "read 0+512, write 0+512". */
const char *rig_sent(actor_addr mock);
/* Writes so many bytes of this value, which must succeed. */
void rig_fill(actor_addr node, int64_t offset, uint64_t bytes, char value, unsigned flags);
/* Whether the range reads as this value all over. */
bool rig_reads_as(actor_addr node, int64_t offset, uint64_t bytes, char value);
void rig_close(actor_addr node);
/* Whether NODE_CHANGED of the node comes here. */
void rig_watch(actor_addr node, bool watch);
const Sluice__NodeInfo *rig_describe(actor_addr node);

#endif
