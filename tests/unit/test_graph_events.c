/* What events and snapshots tell of the graph is true, and one makes up for the other. Each seed is
 * another order of what happens. */
#include "stack_rig.h"

#include "drivers/driver.h"

/* Asks for the events while things happen; each time one is new, asks what it tells of. */
static void an_event_comes_when_what_it_tells_of_can_be_seen(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer answers[4], events, shown;
        stack_send(&answers[0], "node-add name=n driver=memory size=1M reactor=%u",
                   (unsigned)(seed / 3) % STACK_THREADS(seed));
        for (uint64_t next = 1; next < 3;) {
            for (uint64_t i = 0; i < seed % 7; i++)
                stack_step();
            stack_send(&events, "events-since since=%u", (unsigned)next);
            stack_await(&events);
            const Sluice__EventList *list = ((const Sluice__Reply *)events.body)->events;
            if (!list->n_events)
                continue;
            assert_int_equal(list->n_events, 1);
            stack_send(&shown, "node-show n");
            stack_await(&shown);
            if (next++ == 1) {
                assert_int_equal(list->events[0]->body_case, SLUICE__EVENT__BODY_NODE_ADDED);
                assert_int_equal(shown.code, 0);
                stack_send(&answers[1], "node-remove n");
            } else {
                assert_int_equal(list->events[0]->body_case, SLUICE__EVENT__BODY_NODE_DELETED);
                assert_int_equal(shown.code, -ENOENT);
            }
        }
        stack_await(&answers[0]);
        stack_await(&answers[1]);
    }
}

#define OBJECTS 4
#define ACTIONS 150

/* What a console knows: from a snapshot, or from the events. */
struct view {
    bool node[OBJECTS], backend[OBJECTS];
    unsigned perm[OBJECTS], unshared[OBJECTS]; /* at a node */
    int64_t length[OBJECTS];                   /* of a backend; -1: not told */
};

static unsigned perms_of(char *const *names, size_t n)
{
    unsigned perms = 0;
    for (size_t i = 0; i < n; i++)
        for (unsigned bit = 0; bit < PERMS; bit++)
            perms |= !strcmp(names[i], driver_perm_names[bit]) << bit;
    return perms;
}

static struct view view_of(const Sluice__Status *status)
{
    struct view view = {0};
    for (size_t i = 0; i < status->n_nodes; i++) {
        const Sluice__NodeInfo *node = status->nodes[i];
        unsigned which = (unsigned)(node->name[1] - '0');
        view.node[which] = true;
        view.perm[which] = perms_of(node->permissions, node->n_permissions);
        view.unshared[which] = PERM_ALL & ~perms_of(node->shares, node->n_shares);
    }
    for (size_t i = 0; i < status->n_backends; i++) {
        unsigned which = (unsigned)(status->backends[i]->name[1] - '0');
        view.backend[which] = true;
        view.length[which] = (int64_t)status->backends[i]->length;
    }
    return view;
}

static void turn(bool *thing, bool on)
{
    assert_true(*thing != on); /* it comes when it is not there, and goes when it is */
    *thing = on;
}

static void apply(struct view *view, const Sluice__Event *event)
{
    unsigned which = (unsigned)(event->source[1] - '0');
    switch (event->body_case) {
    case SLUICE__EVENT__BODY_NODE_ADDED:
        turn(&view->node[which], true);
        break;
    case SLUICE__EVENT__BODY_NODE_DELETED:
        turn(&view->node[which], false);
        break;
    case SLUICE__EVENT__BODY_BACKEND_ADDED:
        turn(&view->backend[which], true);
        view->length[which] = -1;
        break;
    case SLUICE__EVENT__BODY_BACKEND_DELETED:
        turn(&view->backend[which], false);
        view->length[which] = 0;
        break;
    case SLUICE__EVENT__BODY_PERMISSION_CHANGED: {
        const Sluice__PermissionEvent *changed = event->permission_changed;
        assert_true(view->node[which]);
        view->perm[which] = perms_of(changed->permissions, changed->n_permissions);
        view->unshared[which] = PERM_ALL & ~perms_of(changed->shares, changed->n_shares);
        break;
    }
    case SLUICE__EVENT__BODY_BLOCK_RESIZED:
        assert_true(view->backend[which]);
        view->length[which] = (int64_t)event->block_resized->length;
        break;
    default:
        fail();
    }
}

static void check_snapshot(const Sluice__Status *status, const Sluice__EventList *list,
                           const struct view *last)
{
    struct view from_events = {0}, view = view_of(status);
    for (size_t i = 0; i < status->sequence; i++)
        apply(&from_events, list->events[i]);
    assert_memory_equal(view.node, from_events.node, sizeof view.node);
    assert_memory_equal(view.backend, from_events.backend, sizeof view.backend);
    assert_memory_equal(view.perm, from_events.perm, sizeof view.perm);
    assert_memory_equal(view.unshared, from_events.unshared, sizeof view.unshared);
    for (unsigned i = 0; i < OBJECTS; i++)
        if (from_events.length[i] >= 0)
            assert_int_equal(view.length[i], from_events.length[i]);
    for (size_t i = status->sequence; i < list->n_events; i++)
        apply(&view, list->events[i]);
    for (unsigned i = 0; i < OBJECTS; i++) {
        assert_int_equal(view.node[i], last->node[i]);
        assert_int_equal(view.backend[i], last->backend[i]);
        assert_int_equal(view.perm[i], last->perm[i]);
        assert_int_equal(view.unshared[i], last->unshared[i]);
        if (view.length[i] >= 0)
            assert_int_equal(view.length[i], last->length[i]);
    }
}

static unsigned drawn(uint64_t *random, unsigned below)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(*random >> 33) % below;
}

static void act(struct stack_answer *answer, uint64_t *random, unsigned threads)
{
    unsigned a = drawn(random, OBJECTS), b = drawn(random, OBJECTS);
    switch (drawn(random, 8)) {
    case 0:
        stack_send(answer, "node-add name=n%u driver=memory size=1M reactor=%u", a,
                   drawn(random, threads));
        break;
    case 1:
        stack_send(answer, "node-remove n%u", a);
        break;
    case 2:
        stack_send(answer, "backend-add name=b%u node=n%u", a, b);
        break;
    case 3:
        stack_send(answer, "backend-remove b%u", a);
        break;
    case 4:
    case 5:
        stack_send(answer, "io-truncate backend=b%u size=%uM", a, 1 + drawn(random, 9));
        break;
    default:
        stack_send(answer, "status");
        break;
    }
}

static void a_snapshot_and_the_events_after_it_make_the_true_state(void **state)
{
    static struct stack_answer answers[ACTIONS];
    (void)state;
    unsigned snapshots = 0;
    FOR_EACH_SEED(seed)
    {
        uint64_t random = seed;
        for (unsigned i = 0; i < ACTIONS; i++) {
            act(&answers[i], &random, STACK_THREADS(seed));
            for (unsigned steps = drawn(&random, 12); steps; steps--)
                stack_step();
        }
        for (unsigned i = 0; i < ACTIONS; i++)
            stack_await(&answers[i]);
        const struct view last = view_of(stack_do("status")->status);
        const Sluice__EventList *list = stack_do("events-since since=1")->events;
        assert_int_equal(list->n_events, list->last);
        for (unsigned i = 0; i < ACTIONS; i++) {
            const Sluice__Reply *reply = answers[i].body;
            if (!reply || reply->body_case != SLUICE__REPLY__BODY_STATUS)
                continue;
            check_snapshot(reply->status, list, &last);
            snapshots++;
        }
    }
    assert_true(snapshots > 10 * (stack_last_seed() - stack_first_seed()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_comes_when_what_it_tells_of_can_be_seen),
        cmocka_unit_test(a_snapshot_and_the_events_after_it_make_the_true_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
