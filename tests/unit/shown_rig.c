#include "shown_rig.h"

uint64_t shown_sequence(void)
{
    return stack_do("status")->status->sequence;
}

const Sluice__Event *shown_event(Sluice__Event__BodyCase body)
{
    const Sluice__EventList *list = stack_do("events-since")->events;
    for (size_t i = list->n_events; i-- > 0;)
        if (list->events[i]->body_case == body)
            return list->events[i];
    return NULL;
}
