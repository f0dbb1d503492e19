#include "job_rig.h"

void job_add_stack(unsigned first)
{
    stack_do("node-add driver=mock name=upper size=16M");
    stack_do("node-add driver=mock name=lower size=16M");
    stack_do("node-add driver=overlay name=top child=upper backing=lower");
    stack_do("backend-add name=b node=top");
    stack_do("io-write b offset=%uM bytes=%uM pattern=1", first, 16 - first);
}

const Sluice__JobInfo *job_shown(void)
{
    return stack_do("job-show b")->job;
}

bool job_is_there(void)
{
    return stack_do("job-list")->jobs->n_jobs > 0;
}

/* To ask each millisecond would be most of what a program does, so it asks when there are fewer
 * actors. */
uint64_t job_run_out(void)
{
    uint64_t start = engine_now(stack_engine());
    stack_settle();
    while (job_is_there()) {
        unsigned actors = stack_actors();
        for (int i = 0; i < 50 && stack_actors() == actors; i++)
            stack_pass(NS_PER_MS);
    }
    return engine_now(stack_engine()) - start;
}

const Sluice__JobEvent *job_completed(void)
{
    const Sluice__Event *event = shown_event(SLUICE__EVENT__BODY_JOB_COMPLETED);
    assert_non_null(event);
    return event->job_completed;
}

void job_hold(const char *node, bool on)
{
    stack_do("node-set %s hold=%s", node, on ? "on" : "off");
    stack_settle();
}
