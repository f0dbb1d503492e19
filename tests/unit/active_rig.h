/* active_rig.h — for tests of handing media over, in a whole stepped engine. */
#ifndef ACTIVE_RIG_H
#define ACTIVE_RIG_H

#include "perm_rig.h"

#define FOR_EACH_SEED_INCOMING(seed)                                                               \
    for (uint64_t seed = stack_first_seed();                                                       \
         seed < stack_last_seed() && (stack_start_incoming(STACK_THREADS(seed), seed), true);      \
         stack_stop(), seed++)

/* What backends have of it, and whether it has released what it stands on. */
static inline void assert_node(const char *node, bool inactive, const char *permissions,
                               const char *shares)
{
    const Sluice__NodeInfo *info = stack_do("node-show %s", node)->node;
    assert_int_equal(info->inactive, inactive);
    perm_assert_node(node, permissions, shares);
}

static inline void assert_activity(const char *backend, Sluice__Activity activity)
{
    assert_int_equal(stack_do("backend-show %s", backend)->backend->activity, activity);
}
#define ACTIVE   SLUICE__ACTIVITY__ACTIVE
#define SHARING  SLUICE__ACTIVITY__SHARING
#define INACTIVE SLUICE__ACTIVITY__INACTIVE

/* How often a mock was activated, and inactivated. */
static inline void assert_turns(const char *mock, unsigned activated, unsigned inactivated)
{
    const Sluice__NodeInfo *info = stack_do("node-show %s", mock)->node;
    for (size_t i = 0; i < info->n_state; i++) {
        activated -= !strcmp(info->state[i]->value, "activate");
        inactivated -= !strcmp(info->state[i]->value, "inactivate");
    }
    assert_int_equal(activated, 0);
    assert_int_equal(inactivated, 0);
}

/* Whether it was sent such a request. */
static inline bool was_sent(const char *mock, const char *text)
{
    const Sluice__NodeInfo *info = stack_do("node-show %s", mock)->node;
    for (size_t i = 0; i < info->n_state; i++)
        if (strstr(info->state[i]->value, text))
            return true;
    return false;
}

static inline Sluice__RunState run_state(void)
{
    return stack_do("status")->status->run_state;
}

#endif
