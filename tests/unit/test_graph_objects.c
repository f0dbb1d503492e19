/* Nodes, backends and exports come, are listed and shown, and go, each under a name of its own. In
 * a whole stepped engine: each seed is another order of what happens. */
#include "shown_rig.h"

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
        assert_string_equal(shown()->name, "b");
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
    assert_int_equal(shown()->reactor, 2);
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
        assert_int_equal(shown()->length, 60 * 1024);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
