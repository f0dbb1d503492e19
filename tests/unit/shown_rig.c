#include "shown_rig.h"

const Sluice__BackendInfo *shown(void)
{
    return stack_do("backend-show b")->backend;
}

const char *shown_words(char *const *list, size_t n)
{
    static char text[2][200];
    static unsigned turn;
    char *out = text[turn++ % 2];
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < n; i++) {
        used += (size_t)snprintf(out + used, sizeof *text - used, "%s%s", i ? "," : "", list[i]);
        assert_true(used < sizeof *text);
    }
    return out;
}

const char *shown_last_sent(const char *mock)
{
    const Sluice__NodeInfo *info = stack_do("node-show %s", mock)->node;
    return info->n_state ? info->state[info->n_state - 1]->value : "";
}

const char *shown_sent(const char *mock, unsigned first)
{
    static char text[2048];
    const Sluice__NodeInfo *info = stack_do("node-show %s", mock)->node;
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < info->n_state; i++) {
        unsigned number;
        if (sscanf(info->state[i]->key, "sent-%u", &number) == 1 && number >= first)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "",
                                     info->state[i]->value);
        assert_true(used < sizeof text);
    }
    return text;
}

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
