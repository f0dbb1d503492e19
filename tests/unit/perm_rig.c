#include "perm_rig.h"

void perm_assert(const char *backend, const char *permissions, const char *shares)
{
    const Sluice__BackendInfo *info = stack_do("backend-show %s", backend)->backend;
    assert_string_equal(shown_words(info->permissions, info->n_permissions), permissions);
    assert_string_equal(shown_words(info->shares, info->n_shares), shares);
}

void perm_assert_node(const char *node, const char *permissions, const char *shares)
{
    const Sluice__NodeInfo *info = stack_do("node-show %s", node)->node;
    assert_string_equal(shown_words(info->permissions, info->n_permissions), permissions);
    assert_string_equal(shown_words(info->shares, info->n_shares), shares);
}

const Sluice__Claimed *perm_claim(const char *backend, unsigned perm, unsigned shared)
{
    struct stack_answer answer;
    stack_claim(&answer, backend, perm, shared);
    stack_await(&answer);
    if (answer.code)
        fail_msg("%s", answer.text);
    return answer.body;
}

void perm_ask_set(struct stack_answer *answer, uint64_t claim, unsigned perm, unsigned shared)
{
    Sluice__ClaimSet *set = MAIL_NEW(sluice__claim_set);
    set->claim = claim;
    set->permissions = MAIL_NEW(sluice__permissions);
    set->permissions->perm = perm;
    set->permissions->shared = shared;
    stack_ask(answer, stack_world()->graph, MAIL_CLAIM_SET, set);
}

struct stack_answer perm_set(uint64_t claim, unsigned perm, unsigned shared)
{
    struct stack_answer answer;
    perm_ask_set(&answer, claim, perm, shared);
    stack_await(&answer);
    return answer;
}
