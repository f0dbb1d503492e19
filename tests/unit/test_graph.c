/* The graph, in a whole stepped engine: each seed is another order of what happens. */
#include "stack_rig.h"

#include <stdio.h>

#include "drivers/driver.h"

#define MIB (INT64_C(1) << 20)

/* --- The drivers: the real ones, and one that takes its time
 *
 * A linker takes these definitions before it looks into the library. */

extern const struct driver driver_null, driver_memory, driver_file, driver_raw;

struct slow {
    struct driver_node *node;
    struct timer timer;
    driver_opened_fn *opened;
    void (*closed)(struct driver_node *node);
};

static const struct option slow_options[] = {
    {.name = "opening", .type = OPTION_DURATION, .preset = "0", .max = 3600 * NS_PER_S},
    {.name = "closing", .type = OPTION_DURATION, .preset = "0", .max = 3600 * NS_PER_S},
    {.name = "fails", .type = OPTION_SWITCH, .preset = "off"},
    {0},
};

static void slow_later(struct driver_node *node, const char *option)
{
    struct slow *slow = node->state;
    timer_arm(reactor_timers(node->reactor), &slow->timer,
              reactor_now(node->reactor) + option_number(node->options, option));
}

static void slow_fire(struct timer *timer)
{
    struct slow *slow = (struct slow *)((char *)timer - offsetof(struct slow, timer));
    if (slow->closed)
        slow->closed(slow->node);
    else
        slow->opened(slow->node, option_switch(slow->node->options, "fails") ? -EIO : 0, NULL);
}

static void slow_open(struct driver_node *node, driver_opened_fn *opened)
{
    struct slow *slow = node->state;
    slow->node = node;
    slow->timer.fire = slow_fire;
    slow->opened = opened;
    node->facts = (struct driver_facts){.length = 1 << 20, .alignment = 1};
    slow_later(node, "opening");
}

static void slow_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    struct slow *slow = node->state;
    slow->closed = closed;
    slow_later(node, "closing");
}

static void slow_submit(struct driver_node *node, struct op *op)
{
    (void)node;
    op_complete(op, 0);
}

static const struct driver driver_slow = {
    .name = "slow",
    .help = "Takes its time to open and to close",
    .options = slow_options,
    .size = sizeof(struct slow),
    .open = slow_open,
    .close = slow_close,
    .submit = slow_submit,
};

const struct driver *const drivers[] = {
    &driver_null, &driver_memory, &driver_file, &driver_raw, &driver_slow, NULL,
};

const struct driver *driver_find(const char *name)
{
    for (const struct driver *const *driver = drivers; *driver; driver++)
        if (!strcmp((*driver)->name, name))
            return *driver;
    return NULL;
}

/* --- Names */

static void a_name_is_a_letter_then_letters_digits_and_three_marks(void **state)
{
    static const char *const bad[] = {"''",    "9a",  "-a",        ".a", "_a",
                                      "'a b'", "a/b", "a\xc3\xa4", "a@"};
    static const char *const good[] = {"a", "Z9", "a-b.c_d", "z"};
    char long_name[65];
    (void)state;
    memset(long_name, 'x', 64);
    long_name[64] = 0;
    stack_start(1, 1);
    stack_do("node-add driver=null name=medium");
    stack_do("backend-add name=vd0 node=medium");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        stack_refused(-EINVAL, "a name is a letter, then letters, digits, '-', '.' or '_', 63 char",
                      "node-add driver=null name=%s", bad[i]);
        stack_refused(-EINVAL, "can't name the new backend", "backend-add name=%s", bad[i]);
        stack_refused(-EINVAL, "can't name the new export",
                      "export-add type=nbd node=medium port=0 id=%s", bad[i]);
    }
    stack_refused(-EINVAL, "it is empty", "node-add driver=null name=''");
    stack_refused(-EINVAL, "it begins with '9'", "node-add driver=null name=9a");
    stack_refused(-EINVAL, "it has '/' in it", "node-add driver=null name=a/b");
    stack_refused(-EINVAL, "it has '\xc3\xa4' in it", "node-add driver=null name=a\xc3\xa4@");
    stack_refused(-EINVAL, "it has 64 characters", "node-add driver=null name=%s", long_name);
    stack_do("node-add driver=null name=%s", long_name + 1);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        stack_do("backend-add name=%s", good[i]);
        stack_do("export-add type=nbd node=medium port=0 id=%s", good[i]);
    }
    stack_stop();
}

static void a_name_is_one_node_s_or_one_backend_s(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add driver=null name=n");
    stack_do("backend-add name=b node=n");
    stack_refused(-EEXIST, "there is a node 'n' already; choose another name for the new node",
                  "node-add driver=null name=n");
    stack_refused(-EEXIST, "there is a node 'n' already; choose another name for the new backend",
                  "backend-add name=n");
    stack_refused(-EEXIST, "there is a backend 'b' already; choose another name for the new node",
                  "node-add driver=null name=b");
    stack_refused(-EEXIST,
                  "there is a backend 'b' already; choose another name for the new backend",
                  "backend-add name=b node=n");
    stack_stop();
}

static void
an_export_s_id_is_unique_among_exports_and_its_backend_s_name_when_left_out(void **state)
{
    (void)state;
    stack_start(1, 1);
    stack_do("node-add driver=null name=n");
    stack_do("backend-add name=b node=n");
    assert_string_equal(stack_do("export-add type=nbd backend=b port=0")->export->id, "b");
    stack_refused(-EEXIST, "there is an export 'b' already; choose another id",
                  "export-add type=nbd backend=b port=0");
    assert_string_equal(stack_do("export-add type=nbd node=n port=0")->export->id, "n");
    stack_refused(-EEXIST, "there is an export 'n' already; choose another id",
                  "export-add type=nbd node=n port=0 id=n");
    stack_stop();
}

/* An answer may come much later than the next request. */
static void of_two_at_once_one_gets_the_name(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer node, backend;
        stack_send(&node, "node-add driver=memory size=1M name=x");
        for (uint64_t i = 0; i < seed / 2; i++)
            stack_step();
        stack_send(&backend, "backend-add name=x");
        stack_await(&node);
        stack_await(&backend);
        assert_int_equal(node.code, 0);
        assert_int_equal(backend.code, -EEXIST);
    }
}

/* --- Adding, listing, showing, removing */

static void an_object_is_listed_and_shown_until_it_is_removed(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("status"); /* the engine has settled */
        unsigned actors = stack_actors();
        stack_do("node-add driver=memory size=1M name=n");
        stack_do("backend-add name=b node=n");
        stack_do("export-add type=nbd backend=b port=0 id=e");

        const Sluice__NodeList *nodes = stack_do("node-list")->nodes;
        const Sluice__BackendList *backends = stack_do("backend-list")->backends;
        const Sluice__ExportList *exports = stack_do("export-list")->exports;
        assert_int_equal(nodes->n_nodes, 1);
        assert_string_equal(nodes->nodes[0]->name, "n");
        assert_string_equal(nodes->nodes[0]->users[0], "b");
        assert_int_equal(backends->n_backends, 1);
        assert_string_equal(backends->backends[0]->node, "n");
        assert_int_equal(backends->backends[0]->length, MIB);
        assert_string_equal(backends->backends[0]->users[0], "e");
        assert_int_equal(exports->n_exports, 1);
        assert_string_equal(exports->exports[0]->backend, "b");
        assert_string_equal(stack_do("node-show n")->node->driver, "memory");
        assert_string_equal(stack_do("backend-show b")->backend->name, "b");
        assert_string_equal(stack_do("export-show e")->export->id, "e");

        stack_do("export-remove e");
        stack_do("backend-remove b");
        stack_do("node-remove n");
        stack_refused(-ENOENT, "there is no node 'n'; node-list tells which there are",
                      "node-show n");
        stack_refused(-ENOENT, "there is no backend 'b'", "backend-remove b");
        stack_refused(-ENOENT, "there is no export 'e'", "export-show e");
        const Sluice__Status *status = stack_do("status")->status;
        assert_int_equal(status->n_nodes + status->n_backends + status->n_exports, 0);
        assert_int_equal(stack_actors(), actors);
        for (size_t i = 0; i < status->n_reactors; i++) {
            assert_int_equal(status->reactors[i]->id, i);
            assert_true(status->reactors[i]->turns > 0);
        }
        assert_true(status->n_reactors > 0);
    }
}

static void what_is_used_is_not_removed_and_every_user_is_named(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=memory size=1M name=n");
        stack_do("node-add driver=raw child=n name=window reactor=%u",
                 (unsigned)(seed / 3) % STACK_THREADS(seed));
        stack_refused(-EBUSY, "node 'n' can't be removed: node 'window' uses it; remove that first",
                      "node-remove n");
        stack_do("backend-add name=b node=n");
        stack_do("backend-add name=c node=n");
        stack_do("export-add type=nbd backend=c port=0 id=e");
        stack_refused(-EBUSY,
                      "node 'n' can't be removed: node 'window', backend 'b', backend 'c' use it; "
                      "remove those first",
                      "node-remove n");
        stack_refused(-EBUSY, "backend 'c' can't be removed: export 'e' uses it",
                      "backend-remove c");
        const Sluice__NodeInfo *info = stack_do("node-show n")->node;
        assert_int_equal(info->n_users, 3);
        assert_string_equal(stack_do("node-show window")->node->child, "n");
    }
}

static void users_that_do_not_fit_into_the_refusal_are_counted(void **state)
{
    (void)state;
    stack_start(1, 1);
    stack_do("node-add driver=null name=n");
    for (unsigned i = 0; i < 20; i++)
        stack_do("backend-add node=n name=a-backend-with-a-rather-long-name-%02u", i);
    struct stack_answer answer;
    stack_send(&answer, "node-remove n");
    stack_await(&answer);
    assert_int_equal(answer.code, -EBUSY);
    unsigned named = 0, more = 0;
    const char *at = answer.text;
    while ((at = strstr(at, "a-backend"))) {
        named++;
        at++;
    }
    at = strstr(answer.text, " and ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, " and %u more use it; remove those first", &more), 1);
    assert_int_equal(named + more, 20);
    assert_true(named > 3);
    stack_stop();
}

static void a_removed_name_can_be_used_again_at_once(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        for (unsigned i = 0; i < 5; i++) {
            stack_do("%s-add name=x%s", i % 2 ? "node" : "backend", i % 2 ? " driver=null" : "");
            struct stack_answer removed, added;
            stack_send(&removed, "%s-remove x", i % 2 ? "node" : "backend");
            stack_await(&removed);
            assert_int_equal(removed.code, 0);
            stack_send(&added, "node-add name=x driver=memory size=1M");
            stack_await(&added);
            assert_int_equal(added.code, 0);
            stack_do("node-remove x");
        }
    }
}

static void a_failed_open_leaves_nothing_behind(void **state)
{
    static const struct {
        int code;
        const char *text, *request;
    } tries[] = {
        {-ENOENT, "/no/such", "node-add name=x driver=file filename=/no/such/file"},
        {-EINVAL, "there is no driver 'nonsense'", "node-add name=x driver=nonsense"},
        {-EINVAL, "sizes", "node-add name=x driver=null sizes=1M"},
        {-EINVAL, "size", "node-add name=x driver=memory size=much"},
        {-EINVAL, "stands on another node", "node-add name=x driver=raw"},
        {-EINVAL, "stands on no other node", "node-add name=x driver=null child=n"},
        {-ENOENT, "there is no node 'm'", "node-add name=x driver=raw child=m"},
        {-EINVAL, "beyond the child's end", "node-add name=x driver=raw child=n offset=2M"},
        {-ENOENT, "there is no node 'm'", "backend-add name=x node=m"},
        {-ENOENT, "there is no backend 'm'", "export-add type=nbd id=x backend=m port=0"},
        {-EINVAL, "the types are: nbd", "export-add type=floppy id=x backend=b port=0"},
        {-EINVAL, "exactly one of", "export-add type=nbd id=x backend=b"},
        {-ENOENT, "/no/such", "export-add type=nbd id=x backend=b unix=/no/such/folder/socket"},
        {-EPERM, "read-only", "export-add type=nbd id=x backend=ro port=0 writable=on"},
    };
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add name=n driver=memory size=1M");
        stack_do("backend-add name=b node=n");
        stack_do("backend-add name=ro node=n read-only=on");
        unsigned actors = stack_actors();
        for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
            stack_refused(tries[i].code, tries[i].text, "%s", tries[i].request);
            const Sluice__Status *status = stack_do("status")->status;
            assert_int_equal(status->n_nodes, 1);
            assert_int_equal(status->n_backends, 2);
            assert_int_equal(status->n_exports, 0);
            assert_string_equal(stack_story(4), "");
            assert_int_equal(stack_do("node-show n")->node->n_permissions, 0);
            stack_settle();
            assert_int_equal(stack_actors(), actors);
        }
        stack_do("node-add name=x driver=raw child=n");
        stack_do("export-add type=nbd id=x backend=b port=0");
        assert_string_equal(stack_story(1), "NODE_ADDED n, BACKEND_ADDED b, BACKEND_ADDED ro, "
                                            "NODE_ADDED x, EXPORT_ADDED x");
    }
}

static void a_node_lives_where_it_is_told_else_with_its_child_else_where_fewest_are(void **state)
{
    (void)state;
    stack_start(3, 1);
    stack_refused(-EINVAL, "node 'x' can't live on reactor 3: the reactors are 0 to 2",
                  "node-add name=x driver=null reactor=3");
    for (unsigned i = 0; i < 3; i++) {
        stack_do("node-add name=told%u driver=null reactor=2", i);
        assert_int_equal(stack_do("node-show told%u", i)->node->reactor, 2);
    }
    stack_do("node-add name=child driver=raw child=told0");
    assert_int_equal(stack_do("node-show child")->node->reactor, 2);
    for (unsigned i = 0; i < 4; i++) {
        stack_do("node-add name=free%u driver=null", i);
        assert_int_equal(stack_do("node-show free%u", i)->node->reactor, i % 2);
    }
    stack_do("backend-add name=b node=told1");
    assert_int_equal(stack_do("backend-show b")->backend->reactor, 2);
    stack_stop();
}

static void a_window_reads_and_writes_its_child_on_whatever_reactor(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        unsigned threads = STACK_THREADS(seed);
        stack_do("node-add name=m driver=memory size=1M reactor=%u", (unsigned)seed % threads);
        stack_do("node-add name=w driver=raw child=m offset=64K size=64K reactor=%u",
                 (unsigned)(seed / 3) % threads);
        stack_do("node-add name=v driver=raw child=w offset=4K reactor=%u",
                 (unsigned)(seed / 9) % threads);
        stack_do("backend-add name=b node=v");
        stack_do("backend-add name=whole node=m");
        char out[4096], in[4096];
        struct stack_op op;
        memset(out, (int)(seed + 1), sizeof out);
        stack_submit(&op, stack_find("b"), OP_WRITE, 100, sizeof out, 0, out);
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        stack_submit(&op, stack_find("whole"), OP_READ, 68 * 1024 + 100, sizeof in, 0, in);
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        assert_memory_equal(in, out, sizeof in);
        assert_int_equal(stack_do("backend-show b")->backend->length, 60 * 1024);
    }
}

static void a_new_window_is_measured_against_what_its_child_is_now(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        unsigned reactor = (unsigned)(seed / 3) % STACK_THREADS(seed);
        stack_do("node-add name=m driver=memory size=1M");
        stack_do("backend-add name=b node=m");
        stack_do("io-truncate backend=b size=2M");
        stack_do("node-add name=w driver=raw child=m offset=1M size=512K reactor=%u", reactor);
        stack_do("backend-add name=c node=w");
        assert_int_equal(stack_do("backend-show c")->backend->length, MIB / 2);
        stack_do("io-truncate backend=b size=1M");
        stack_refused(-EINVAL, "beyond the child's end at 1048576",
                      "node-add name=v driver=raw child=m offset=512K size=1M reactor=%u", reactor);
    }
}

/* --- Objects on their way in or out */

static void an_object_that_is_being_opened_can_t_be_used_yet(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer node;
        stack_send(&node, "node-add name=n driver=slow opening=1s");
        stack_settle();
        stack_refused(-EBUSY, "node 'n' is being opened; try again", "backend-add name=b node=n");
        stack_refused(-EBUSY, "being opened", "node-add name=w driver=raw child=n");
        stack_refused(-EBUSY, "being opened", "node-remove n");
        stack_refused(-EBUSY, "being opened", "node-show n");
        stack_refused(-EEXIST, "there is a node 'n'", "backend-add name=n");
        assert_int_equal(stack_do("node-list")->nodes->n_nodes, 0);
        assert_int_equal(stack_do("status")->status->n_nodes, 0);
        assert_string_equal(stack_story(1), "");
        assert_false(node.came);
        stack_pass(NS_PER_S);
        assert_true(node.came && node.code == 0);
        assert_string_equal(stack_story(1), "NODE_ADDED n");
        stack_do("backend-add name=b node=n");
    }
}

static void an_object_that_fails_to_open_is_never_seen(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        static struct stack_answer lists[100];
        struct stack_answer node;
        stack_send(&node, "node-add name=n driver=slow fails=on");
        for (unsigned i = 0; i < 100; i++) {
            stack_send(&lists[i], i % 2 ? "node-list" : "status");
            stack_step();
        }
        for (unsigned i = 0; i < 100; i++) {
            stack_await(&lists[i]);
            const Sluice__Reply *reply = lists[i].body;
            assert_int_equal(i % 2 ? reply->nodes->n_nodes : reply->status->n_nodes, 0);
        }
        assert_int_equal(node.code, -EIO);
        assert_string_equal(stack_story(1), "");
        stack_do("backend-add name=n");
    }
}

static void an_object_that_is_being_closed_is_there_until_it_is_gone(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer removed;
        stack_do("node-add name=n driver=null latency=5s");
        stack_do("backend-add name=b node=n");
        stack_submit(&op, stack_find("b"), OP_FLUSH, 0, 0, 0, NULL);
        stack_release("b");
        stack_settle();
        stack_send(&removed, "backend-remove b");
        stack_settle();
        assert_false(removed.came);
        stack_refused(-EBUSY, "backend 'b' is being closed; try again", "backend-remove b");
        stack_refused(-EBUSY, "being closed", "backend-show b");
        stack_refused(-EBUSY, "being closed", "export-add type=nbd backend=b port=0");
        stack_refused(-EBUSY, "backend 'b' uses it", "node-remove n");
        stack_refused(-EEXIST, "there is a backend 'b'", "backend-add name=b");
        assert_int_equal(stack_do("backend-list")->backends->n_backends, 1);
        assert_int_equal(stack_do("status")->status->n_backends, 1);
        assert_string_equal(stack_story(1), "NODE_ADDED n, BACKEND_ADDED b");
        stack_await(&removed);
        assert_int_equal(removed.code, 0);
        stack_settle();
        assert_true(op.came && op.ret == 0);
        assert_int_equal(stack_do("status")->status->n_backends, 0);
        assert_string_equal(stack_story(3), "BACKEND_DELETED b");

        stack_do("node-add name=slow driver=slow closing=1s");
        stack_send(&removed, "node-remove slow");
        stack_settle();
        assert_int_equal(stack_do("node-list")->nodes->n_nodes, 2);
        stack_await(&removed);
        assert_int_equal(stack_do("node-list")->nodes->n_nodes, 1);
    }
}

static void a_removal_that_the_backend_refuses_leaves_it_in_use(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add name=n driver=null");
        stack_do("backend-add name=b node=n");
        actor_addr backend = stack_find("b");
        const Sluice__SessionGrant *grant =
            stack_call(backend, MAIL_SESSION_OPEN, stack_session(1, 4096));
        struct stack_answer removed, status;
        stack_release("b");
        stack_send(&removed, "backend-remove b");
        stack_send(&status, "status"); /* while it is asked */
        stack_await(&removed);
        stack_await(&status);
        assert_int_equal(removed.code, -EBUSY);
        assert_non_null(strstr(removed.text, "'rig' has it open; end that first"));
        assert_int_equal(((const Sluice__Reply *)status.body)->status->n_backends, 1);
        assert_int_equal(stack_run(stack_find("b"), OP_READ, 0, 4096, 0), 0);
        stack_release("b");
        assert_string_equal(stack_story(1), "NODE_ADDED n, BACKEND_ADDED b");
        stack_call(backend, MAIL_SESSION_CLOSE, stack_session_end(grant->session));
        stack_do("backend-remove b");
    }
}

/* --- Events and snapshots */

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

/* --- The end */

static void shut_down(struct stack_answer *answer, uint64_t deadline)
{
    Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
    shutdown->deadline = deadline;
    stack_ask(answer, stack_world()->graph, MAIL_SHUTDOWN, shutdown);
}

static unsigned place(const char *story, const char *what)
{
    const char *at = strstr(story, what);
    if (!at)
        fail_msg("no %s in: %s", what, story);
    return (unsigned)(at - story);
}

static void everything_is_closed_before_what_it_uses(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer ended;
        stack_do("node-add name=m driver=memory size=1M");
        stack_do("node-add name=w driver=raw child=m reactor=%u",
                 (unsigned)(seed / 3) % STACK_THREADS(seed));
        stack_do("backend-add name=b node=w");
        stack_do("backend-add name=c node=m");
        stack_do("export-add type=nbd backend=b port=0 id=e");
        shut_down(&ended, 30 * NS_PER_S);
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        stack_settle();
        assert_int_equal(stack_actors(), 2); /* control and events */
        const char *story = stack_story(6);
        unsigned e = place(story, "EXPORT_DELETED e"), b = place(story, "BACKEND_DELETED b"),
                 c = place(story, "BACKEND_DELETED c"), w = place(story, "NODE_DELETED w"),
                 m = place(story, "NODE_DELETED m");
        assert_true(e < b && b < w && w < m && c < m);
    }
}

static void once_the_end_has_begun_requests_are_refused(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op op;
        struct stack_answer ended;
        stack_do("node-add name=n driver=null latency=1s");
        stack_do("backend-add name=b node=n");
        stack_submit(&op, stack_find("b"), OP_FLUSH, 0, 0, 0, NULL);
        stack_release("b");
        stack_settle();
        shut_down(&ended, 30 * NS_PER_S);
        stack_settle();
        assert_false(ended.came);
        stack_refused(-ESHUTDOWN, "the engine is shutting down", "node-add name=x driver=null");
        stack_refused(-ESHUTDOWN, "the engine is shutting down", "status");
        stack_refused(-ESHUTDOWN, "the engine is shutting down", "io-flush backend=b");
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        assert_true(op.came && op.ret == 0); /* the deadline was far */
        stack_refused(-ENXIO, "gone", "status");
    }
}

static void what_still_waits_at_the_deadline_ends_with_eshutdown(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_op ops[4];
        struct stack_answer ended, drained;
        stack_do("node-add name=n driver=null latency=3600s");
        stack_do("node-add name=w driver=raw child=n reactor=%u",
                 (unsigned)(seed / 3) % STACK_THREADS(seed));
        stack_do("backend-add name=b node=w");
        stack_do("backend-add name=held node=w");
        actor_addr backend = stack_find("b"), held = stack_find("held");
        const Sluice__SessionGrant *grant =
            stack_call(backend, MAIL_SESSION_OPEN, stack_session(8, 65536));
        stack_call(held, MAIL_SESSION_OPEN, stack_session(8, 65536));
        stack_ask(&drained, held, MAIL_DRAIN_BEGIN, NULL);
        stack_await(&drained);
        stack_submit(&ops[0], backend, OP_WRITE, 0, 4096, 0, NULL);
        stack_submit(&ops[1], backend, OP_FLUSH, 0, 0, 0, NULL);
        stack_submit(&ops[2], held, OP_READ, 0, 4096, 0, NULL);
        stack_settle();
        uint64_t begun = engine_now(stack_engine());
        shut_down(&ended, 5 * NS_PER_S);
        stack_pass(5 * NS_PER_S - 1);
        assert_false(ops[0].came || ops[1].came || ops[2].came || ended.came);
        stack_pass(20 * NS_PER_MS);
        for (unsigned i = 0; i < 3; i++)
            assert_true(ops[i].came && ops[i].ret == -ESHUTDOWN);
        stack_submit(&ops[3], backend, OP_READ, 0, 4096, 0, NULL);
        stack_settle();
        assert_true(ops[3].came && ops[3].ret == -ESHUTDOWN);
        assert_false(ended.came); /* the frontend has the backends open */
        stack_call(held, MAIL_SESSION_CLOSE, stack_session_end(1));
        stack_release("held");
        stack_release("b");
        stack_call(backend, MAIL_SESSION_CLOSE, stack_session_end(grant->session));
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        assert_true(engine_now(stack_engine()) - begun < 6 * NS_PER_S);
        stack_settle();
        assert_int_equal(stack_actors(), 2);
    }
}

static void the_end_waits_for_what_is_being_opened(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer node, failing, quick, bad, ended;
        stack_send_graph(&node, "node-add name=n driver=slow opening=1001ms closing=1s");
        stack_send_graph(&failing, "node-add name=f driver=slow opening=2s fails=on");
        stack_settle();
        stack_send_graph(&quick, "node-add name=q driver=memory size=1M");
        for (uint64_t i = 0; i < seed; i++)
            stack_step();
        stack_send_graph(&bad, "node-add name=x driver=file filename=/no/such/file");
        uint64_t begun = engine_now(stack_engine());
        shut_down(&ended, 30 * NS_PER_S);
        stack_pass(1001 * NS_PER_MS);
        assert_true(node.came && node.code == 0 && quick.came && quick.code == 0);
        assert_true(bad.came && bad.code == -ENOENT);
        assert_false(ended.came || failing.came);
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        assert_int_equal(engine_now(stack_engine()) - begun, 2001 * NS_PER_MS); /* and no longer */
        assert_true(failing.came && failing.code == -EIO);
        stack_settle();
        assert_int_equal(stack_actors(), 2);
        const char *story = stack_story(1);
        place(story, "NODE_DELETED n");
        place(story, "NODE_DELETED q");
        assert_null(strstr(story, " x"));
        assert_null(strstr(story, " f"));
    }
}

static void a_status_that_is_being_gathered_is_answered_before_the_end(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer status, list, ended;
        stack_do("node-add name=n driver=null");
        stack_do("node-add name=w driver=raw child=n");
        stack_send_graph(&status, "status");
        stack_send_graph(&list, "node-list");
        shut_down(&ended, 30 * NS_PER_S);
        stack_await(&ended);
        stack_settle();
        assert_true(status.came && status.code == 0 && list.came && list.code == 0);
        const Sluice__Status *said = ((const Sluice__Reply *)status.body)->status;
        assert_int_equal(said->n_nodes, 4 - said->sequence);
    }
}

/* A frontend that never lets go, and drivers that do not return: the graph ends all the same, and
 * whoever waits for them is answered, so that control can end, too. */
static void what_does_not_close_is_left_and_whoever_waits_is_told(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer added, removed, ended, closed;
        stack_do("node-add name=n driver=null");
        stack_do("backend-add name=b node=n");
        stack_do("node-add name=s driver=slow closing=1000s");
        stack_call(stack_find("b"), MAIL_SESSION_OPEN, stack_session(1, 4096));
        stack_send(&added, "node-add name=x driver=slow opening=1000s");
        stack_send(&removed, "node-remove s");
        stack_settle();
        uint64_t begun = engine_now(stack_engine());
        shut_down(&ended, NS_PER_S);
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        uint64_t took = engine_now(stack_engine()) - begun;
        assert_true(took >= 3 * NS_PER_S && took < 4 * NS_PER_S);
        stack_ask(&closed, stack_world()->control, MAIL_CLOSE, NULL);
        stack_settle();
        assert_true(closed.came && closed.code == 0);
        assert_true(added.came && added.code == -ESHUTDOWN);
        assert_non_null(strstr(added.text, "the engine has ended before node 'x' could be added"));
        assert_true(removed.came && removed.code == -ESHUTDOWN);
        assert_non_null(strstr(removed.text, "ended before node 's' could be removed"));
        stack_pass(1000 * NS_PER_S); /* s has closed by now; b, n and x are the engine's to end */
        stack_leaves(3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_a_letter_then_letters_digits_and_three_marks),
        cmocka_unit_test(a_name_is_one_node_s_or_one_backend_s),
        cmocka_unit_test(
            an_export_s_id_is_unique_among_exports_and_its_backend_s_name_when_left_out),
        cmocka_unit_test(of_two_at_once_one_gets_the_name),
        cmocka_unit_test(an_object_is_listed_and_shown_until_it_is_removed),
        cmocka_unit_test(what_is_used_is_not_removed_and_every_user_is_named),
        cmocka_unit_test(users_that_do_not_fit_into_the_refusal_are_counted),
        cmocka_unit_test(a_removed_name_can_be_used_again_at_once),
        cmocka_unit_test(a_failed_open_leaves_nothing_behind),
        cmocka_unit_test(a_node_lives_where_it_is_told_else_with_its_child_else_where_fewest_are),
        cmocka_unit_test(a_window_reads_and_writes_its_child_on_whatever_reactor),
        cmocka_unit_test(a_new_window_is_measured_against_what_its_child_is_now),
        cmocka_unit_test(an_object_that_is_being_opened_can_t_be_used_yet),
        cmocka_unit_test(an_object_that_fails_to_open_is_never_seen),
        cmocka_unit_test(an_object_that_is_being_closed_is_there_until_it_is_gone),
        cmocka_unit_test(a_removal_that_the_backend_refuses_leaves_it_in_use),
        cmocka_unit_test(an_event_comes_when_what_it_tells_of_can_be_seen),
        cmocka_unit_test(a_snapshot_and_the_events_after_it_make_the_true_state),
        cmocka_unit_test(everything_is_closed_before_what_it_uses),
        cmocka_unit_test(once_the_end_has_begun_requests_are_refused),
        cmocka_unit_test(what_still_waits_at_the_deadline_ends_with_eshutdown),
        cmocka_unit_test(the_end_waits_for_what_is_being_opened),
        cmocka_unit_test(a_status_that_is_being_gathered_is_answered_before_the_end),
        cmocka_unit_test(what_does_not_close_is_left_and_whoever_waits_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
