#include "drained_rig.h"

void drained_ask(struct stack_answer *answer, unsigned number, actor_addr backend, const char *node)
{
    Sluice__Drain *drain = MAIL_NEW(sluice__drain);
    drain->has_number = true;
    drain->number = number;
    drain->has_backend = true;
    drain->backend = backend;
    if (node)
        mail_set(&drain->node, node);
    stack_ask(answer, stack_world()->graph, MAIL_DRAIN, drain);
}

uint64_t drained_region(const struct stack_answer *answer)
{
    return ((const Sluice__Drained *)answer->body)->region;
}

uint64_t drained_begin(unsigned number, actor_addr backend, const char *node)
{
    struct stack_answer answer;
    drained_ask(&answer, number, backend, node);
    stack_await(&answer);
    if (answer.code)
        fail_msg("%s", answer.text);
    return drained_region(&answer);
}

void drained_end(uint64_t region)
{
    Sluice__RegionEnd *end = MAIL_NEW(sluice__region_end);
    end->region = region;
    stack_call(stack_world()->graph, MAIL_REGION_END, end);
}
