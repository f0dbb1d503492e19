#include "limited_rig.h"

actor_addr limited_backend(const char *name, const char *group)
{
    stack_do("backend-add name=%s driver=null size=1G throttle=%s", name, group);
    return stack_find(name);
}

void limited_submit(struct stack_op *all, unsigned n, actor_addr to, enum op_kind kind,
                    uint64_t bytes)
{
    for (unsigned i = 0; i < n; i++)
        stack_submit(&all[i], to, kind, 0, bytes, 0, NULL);
    stack_settle();
}

unsigned limited_came(const struct stack_op *all, unsigned n)
{
    unsigned count = 0;
    for (unsigned i = 0; i < n; i++) {
        count += all[i].came;
        if (all[i].came)
            assert_int_equal(all[i].ret, 0);
    }
    return count;
}

void limited_in_order(const struct stack_op *all, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        assert_true(all[i - 1].came || !all[i].came);
        assert_true(!all[i].came || all[i - 1].at < all[i].at);
    }
}

const Sluice__ThrottleInfo *limited_group(const char *group)
{
    return stack_do("throttle-show %s", group)->throttle;
}

const char *limited_group_of(const char *backend)
{
    const char *group = stack_do("backend-show %s", backend)->backend->throttle;
    return group ? group : "";
}
