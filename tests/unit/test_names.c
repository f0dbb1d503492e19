/* Life, names, references, walks and look-ups of backends, in a whole stepped engine: each seed is
 * another order of what happens. */
#include "shown_rig.h"

#include "engine/random.h"

/* --- As the port asks for them */

static Sluice__BackendAdd *spec(const char *node, const char *driver)
{
    Sluice__BackendAdd *add = MAIL_NEW(sluice__backend_add);
    mail_set(&add->name, "");
    if (node)
        mail_set(&add->node, node);
    if (driver)
        mail_set(&add->driver, driver);
    return add;
}

static void ask_new(struct stack_answer *answer, Sluice__BackendAdd *make, unsigned perm)
{
    Sluice__Claim *claim = MAIL_NEW(sluice__claim);
    mail_set(&claim->backend, "");
    mail_set(&claim->name, "rig");
    claim->permissions = MAIL_NEW(sluice__permissions);
    claim->permissions->perm = perm;
    claim->permissions->shared = PERM_ALL;
    claim->make = make;
    stack_ask(answer, stack_world()->graph, MAIL_CLAIM, claim);
}

static const Sluice__Claimed *make(Sluice__BackendAdd *add, unsigned perm)
{
    struct stack_answer answer;
    ask_new(&answer, add, perm);
    stack_await(&answer);
    if (answer.code)
        fail_msg("%s", answer.text);
    return answer.body;
}

static const Sluice__Found *look(Sluice__LookUp__By by, const char *name, uint64_t after)
{
    Sluice__LookUp *mail = MAIL_NEW(sluice__look_up);
    mail->by = by;
    mail_set(&mail->name, name);
    mail->has_after = true;
    mail->after = after;
    return stack_call(stack_world()->graph, MAIL_LOOK_UP, mail);
}

static const Sluice__Found *by_id(uint64_t id)
{
    return look(SLUICE__LOOK_UP__BY__ID, "", id);
}

static struct stack_answer name_it(uint64_t claim, const char *name)
{
    struct stack_answer answer;
    Sluice__BackendName *mail = MAIL_NEW(sluice__backend_name);
    mail->claim = claim;
    if (name)
        mail_set(&mail->name, name);
    stack_ask(&answer, stack_world()->graph, MAIL_BACKEND_NAME, mail);
    stack_await(&answer);
    return answer;
}

static void refuse_name(uint64_t claim, const char *name, int code, const char *text)
{
    struct stack_answer answer = name_it(claim, name);
    if (answer.code != code || !strstr(answer.text, text))
        fail_msg("%d \"%s\", but not %d \"%s\"", answer.code, answer.text, code, text);
}

static void refer(uint64_t claim, uint32_t references)
{
    Sluice__ClaimRefs *mail = MAIL_NEW(sluice__claim_refs);
    mail->claim = claim;
    mail->references = references;
    stack_tell(stack_world()->graph, MAIL_CLAIM_REFS, mail);
    stack_settle();
}

/* The names in a list of backends, or of nodes: "a b ". */
static const char *backends(const char *request)
{
    static char text[400];
    const Sluice__BackendList *list = stack_do("%s", request)->backends;
    text[0] = 0;
    for (size_t i = 0; i < list->n_backends; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", list->backends[i]->name);
    return text;
}

static const char *nodes(const char *request)
{
    static char text[400];
    const Sluice__NodeList *list = stack_do("%s", request)->nodes;
    text[0] = 0;
    for (size_t i = 0; i < list->n_nodes; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", list->nodes[i]->name);
    return text;
}

/* --- Life */

static void a_new_backend_has_one_reference_and_nothing_else(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        uint64_t before = shown_sequence();
        const Sluice__Claimed *claimed = make(spec(NULL, NULL), PERM_CONSISTENT_READ | PERM_WRITE);
        const Sluice__Found *found = by_id(claimed->id);
        assert_int_equal(found->references, 1);
        assert_string_equal(found->name, "");
        assert_string_equal(found->node, "");
        assert_string_equal(found->device, "");
        assert_string_equal(found->description, "a block device");
        const Sluice__BackendInfo *info = stack_do("backend-list all=on")->backends->backends[0];
        assert_string_equal(info->name, "");
        assert_null(info->node);
        assert_true(info->write_cache);
        assert_int_equal(info->references, 1);
        assert_string_equal(info->description, "a block device");
        assert_int_equal(info->n_permissions, 2);
        assert_string_equal(info->permissions[0], "consistent-read");
        assert_string_equal(info->permissions[1], "write");
        /* Control does not see it. */
        assert_string_equal(backends("backend-list"), "");
        assert_int_equal(stack_do("status")->status->n_backends, 0);
        assert_int_equal(shown_sequence(), before);
        stack_claim_end(claimed->claim);
        assert_int_equal(by_id(claimed->id)->id, 0);
        assert_int_equal(stack_do("backend-list all=on")->backends->n_backends, 0);
    }
}

static void the_last_reference_drains_drops_the_medium_and_ends_it_once(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m size=1M hold=on");
        const Sluice__Claimed *claimed = make(spec("m", NULL), PERM_WRITE);
        unsigned actors = stack_actors();
        struct stack_op op;
        struct stack_answer ended, again;
        stack_submit(&op, claimed->address, OP_WRITE, 0, 512, 0, NULL);
        stack_settle();
        stack_refused(-EBUSY, "backend 'a block device'", "node-remove m");
        for (unsigned i = 0; i < 2; i++) {
            Sluice__ClaimEnd *end = MAIL_NEW(sluice__claim_end);
            end->claim = claimed->claim;
            stack_ask(i ? &again : &ended, stack_world()->graph, MAIL_CLAIM_END, end);
        }
        stack_settle();
        assert_false(ended.came); /* something is in flight */
        assert_true(again.came);  /* nothing to do */
        assert_int_equal(stack_actors(), actors);
        stack_do("node-set m hold=off");
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        assert_int_equal(op.ret, 0);
        assert_true(op.at < ended.at);
        stack_settle();
        assert_int_equal(stack_actors(), actors - 1);
        assert_string_equal(nodes("node-list"), "m "); /* control's */
        stack_do("node-remove m");
    }
}

static void a_name_and_a_device_hold_references_of_their_own(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        const Sluice__Claimed *one = make(spec(NULL, NULL), 0), *two;
        assert_int_equal(name_it(one->claim, "b").code, 0);
        assert_int_equal(shown()->references, 2);
        stack_do("export-add type=nbd backend=b id=e port=0");
        assert_int_equal(shown()->references, 3);
        refer(one->claim, 4);
        assert_int_equal(shown()->references, 6);
        stack_claim_end(one->claim);
        assert_int_equal(shown()->references, 2);
        stack_refused(-EBUSY, "export 'e' uses it", "backend-remove b");

        /* The device alone keeps it, and gives it a name for messages. */
        struct stack_answer answer;
        stack_claim(&answer, "b", 0, PERM_ALL);
        stack_await(&answer);
        two = answer.body;
        assert_int_equal(name_it(two->claim, NULL).code, 0);
        stack_claim_end(two->claim);
        const Sluice__Found *found = by_id(one->id);
        assert_int_equal(found->references, 1);
        assert_string_equal(found->description, "e");
        assert_string_equal(found->device, "e");
        stack_do("export-remove e");
        stack_settle();
        assert_int_equal(by_id(one->id)->id, 0);
    }
}

static void a_backend_of_control_goes_when_its_name_does(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        uint64_t before = shown_sequence();
        stack_do("backend-add name=b");
        uint64_t id = look(SLUICE__LOOK_UP__BY__NAME, "b", 0)->id;
        assert_int_equal(by_id(id)->references, 1);
        struct stack_answer answer;
        stack_claim(&answer, "b", 0, PERM_ALL);
        stack_await(&answer);
        uint64_t claim = ((const Sluice__Claimed *)answer.body)->claim;
        assert_int_equal(by_id(id)->references, 2);
        stack_refused(-EBUSY, "client 'rig' uses it", "backend-remove b");
        stack_claim_end(claim);
        assert_int_equal(by_id(id)->references, 1);
        stack_do("backend-remove b");
        assert_int_equal(by_id(id)->id, 0);
        assert_string_equal(stack_story(before + 1), "BACKEND_ADDED b, BACKEND_DELETED b");
    }
}

static void a_shutdown_ends_backends_without_a_name_too(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        const Sluice__Claimed *one = make(spec("n", NULL), PERM_WRITE);
        const Sluice__Claimed *two = make(spec(NULL, "null"), 0);
        struct stack_answer made, down, late;
        ask_new(&made, spec(NULL, "null"), 0);
        Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
        shutdown->deadline = 30 * NS_PER_S;
        stack_ask(&down, stack_world()->graph, MAIL_SHUTDOWN, shutdown);
        stack_await(&made);
        ask_new(&late, spec(NULL, NULL), 0);
        stack_await(&late);
        assert_int_equal(late.code, -ESHUTDOWN);
        stack_claim_end(one->claim);
        stack_claim_end(two->claim);
        assert_false(down.came);
        stack_claim_end(((const Sluice__Claimed *)made.body)->claim);
        stack_await(&down);
        assert_int_equal(down.code, 0);
    }
}

/* --- In one step */

static void a_backend_and_its_node_are_made_together_and_go_together(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        uint64_t before = shown_sequence();
        stack_do("backend-add name=vd0 driver=memory size=1M");
        const Sluice__BackendInfo *info = stack_do("backend-show vd0")->backend;
        assert_int_equal(info->length, 1 << 20);
        char node[64];
        snprintf(node, sizeof node, "%s", info->node);
        assert_int_equal(node[0], '#'); /* nobody can have chosen that */
        assert_string_equal(stack_do("node-show %s", node)->node->users[0], "vd0");
        stack_refused(-EBUSY, "backend 'vd0' uses it", "node-remove %s", node);
        stack_do("backend-remove vd0");
        assert_string_equal(nodes("node-list"), "");
        char story[200];
        snprintf(story, sizeof story,
                 "NODE_ADDED %s, BACKEND_ADDED vd0, BACKEND_DELETED vd0, NODE_DELETED %s", node,
                 node);
        assert_string_equal(stack_story(before + 1), story);

        /* Its last user may be another. */
        stack_do("backend-add name=a driver=memory size=1M");
        snprintf(node, sizeof node, "%s", stack_do("backend-show a")->backend->node);
        stack_do("backend-add name=b node=%s", node);
        stack_do("backend-remove a");
        assert_string_equal(shown()->node, node);
        stack_do("medium-remove b");
        stack_settle();
        assert_string_equal(nodes("node-list"), "");
        stack_do("backend-remove b");
    }
}

static void what_fails_in_one_step_leaves_nothing(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("node-add driver=mock name=ro read-only=on");
        unsigned actors = stack_actors();
        stack_refused(-ENOENT, "there is no file", "backend-add name=b driver=file filename=/no");
        stack_refused(-EINVAL, "there is no driver 'x'", "backend-add name=b driver=x");
        stack_refused(-EINVAL, "reactors are", "backend-add name=b driver=null reactor=9");
        stack_refused(-ENOENT, "there is no node 'x'", "backend-add name=b driver=raw child=x");
        stack_refused(-EINVAL, "both node=n and driver=null",
                      "backend-add name=b node=n driver=null");
        stack_refused(-EINVAL, "'nod' is nothing that a backend has", "backend-add name=b nod=n");
        stack_refused(-EINVAL, "name its driver=", "backend-add name=b reactor=0");

        /* The backend is there, but what it is made for can't be had. */
        struct stack_answer answer;
        ask_new(&answer, spec("ro", NULL), PERM_WRITE);
        stack_await(&answer);
        assert_int_equal(answer.code, -EPERM);
        assert_int_equal(stack_actors(), actors); /* by the time that one knows */
        Sluice__BackendAdd *add = spec(NULL, "mock");
        add->options = calloc(1, sizeof *add->options);
        add->n_options = 1;
        add->options[0] = MAIL_NEW(sluice__option);
        mail_set(&add->options[0]->key, "deny");
        mail_set(&add->options[0]->value, "write");
        ask_new(&answer, add, PERM_WRITE);
        stack_await(&answer);
        assert_int_equal(answer.code, -EPERM);
        assert_non_null(strstr(answer.text, "gives nobody 'write'"));
        assert_int_equal(stack_actors(), actors);
        assert_string_equal(nodes("node-list"), "n ro ");
        assert_string_equal(backends("backend-list all=on"), "");
        stack_do("backend-add name=b");
        stack_do("node-remove ro");
    }
}

/* --- Names */

static void a_name_comes_and_goes_and_control_sees_it_meanwhile(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        const Sluice__Claimed *claimed = make(spec(NULL, "null"), 0);
        stack_call(claimed->address, MAIL_SESSION_OPEN, stack_session(8, 0));
        uint64_t before = shown_sequence();
        assert_int_equal(name_it(claimed->claim, "b").code, 0);
        assert_int_equal(shown()->references, 2);
        assert_int_equal(name_it(claimed->claim, NULL).code, 0);
        assert_int_equal(name_it(claimed->claim, NULL).code, 0); /* twice is fine */
        stack_refused(-ENOENT, "there is no backend 'b'", "backend-show b");
        stack_refused(-ENOENT, "there is no backend ''", "backend-show \"\"");
        assert_string_equal(by_id(claimed->id)->name, "");
        assert_string_equal(stack_story(before + 1), "BACKEND_ADDED b, BACKEND_DELETED b");
        stack_do("node-add driver=null name=b"); /* it is free */
        stack_call(claimed->address, MAIL_SESSION_CLOSE, stack_session_end(1));
    }
}

static void each_rule_of_names_is_told(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=b");
        const Sluice__Claimed *claimed = make(spec(NULL, NULL), 0);
        refuse_name(claimed->claim, "", -EINVAL, "it is empty");
        refuse_name(claimed->claim, "1a", -EINVAL, "it begins with '1'");
        refuse_name(claimed->claim, "#node1", -EINVAL, "it begins with '#'");
        refuse_name(claimed->claim, "a/b", -EINVAL, "it has '/' in it");
        refuse_name(claimed->claim, "n", -EEXIST, "there is a node 'n' already");
        refuse_name(claimed->claim, "b", -EEXIST, "there is a backend 'b' already");
        char name[65];
        memset(name, 'x', 64);
        name[64] = 0;
        refuse_name(claimed->claim, name, -EINVAL, "it has 64 characters");
        name[63] = 0;
        assert_int_equal(name_it(claimed->claim, name).code, 0);
        refuse_name(claimed->claim, "second", -EBUSY, "has a name already");
        refuse_name(1000, "x", -ENXIO, "there is no claim 1000");
        /* The other way round. */
        stack_refused(-EEXIST, "there is a backend 'xxx", "node-add driver=null name=%s", name);
        assert_int_equal(name_it(claimed->claim, NULL).code, 0);
        assert_int_equal(name_it(claimed->claim, "a-B.c_1").code, 0);
    }
}

/* --- Walks and look-ups */

static void lists_have_what_they_are_asked_for(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=own");
        stack_do("node-add driver=null name=under");
        stack_do("node-add driver=raw name=over child=under");
        stack_do("node-add driver=null name=held");
        stack_do("backend-add name=a node=held");
        make(spec("held", NULL), 0);
        make(spec("over", NULL), 0);
        stack_do("backend-add name=z");
        assert_string_equal(backends("backend-list"), "a z ");
        assert_string_equal(backends("backend-list all=on"), "a   z ");
        assert_string_equal(nodes("node-list"), "own under over held ");
        /* Those of backends first, each once; then those that control keeps: also one that another
         * node stands on, which is nobody's root but control's own. */
        assert_string_equal(nodes("node-list roots=on"), "over held own under ");
        assert_true(stack_do("node-show held")->node->has_backend);
        assert_true(stack_do("node-show held")->node->only_backends);
        assert_false(stack_do("node-show under")->node->has_backend);
        assert_false(stack_do("node-show under")->node->only_backends);
        assert_false(stack_do("node-show own")->node->has_backend);
        stack_do("node-add driver=raw name=beside child=held");
        assert_true(stack_do("node-show held")->node->has_backend);
        assert_false(stack_do("node-show held")->node->only_backends);
        assert_int_equal(stack_do("node-show held")->node->n_users, 3);
    }
}

static void backends_are_found_by_name_device_and_node(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("node-add driver=null name=free");
        const Sluice__Claimed *first = make(spec("n", NULL), 0);
        stack_do("backend-add name=b node=n");
        stack_do("export-add type=nbd backend=b id=e port=0");
        const Sluice__Found *found = look(SLUICE__LOOK_UP__BY__NAME, "b", 0);
        assert_string_equal(found->node, "n");
        assert_string_equal(found->device, "e");
        assert_string_equal(found->description, "b");
        assert_int_equal(look(SLUICE__LOOK_UP__BY__DEVICE, "e", 0)->id, found->id);
        assert_int_equal(look(SLUICE__LOOK_UP__BY__NODE, "n", 0)->id, first->id);
        assert_int_equal(look(SLUICE__LOOK_UP__BY__NODE, "free", 0)->id, 0);
        assert_int_equal(look(SLUICE__LOOK_UP__BY__NODE, "none", 0)->id, 0);
        assert_int_equal(look(SLUICE__LOOK_UP__BY__NAME, "", 0)->id, 0);
        assert_int_equal(look(SLUICE__LOOK_UP__BY__NAME, "n", 0)->id, 0);
        assert_int_equal(look(SLUICE__LOOK_UP__BY__DEVICE, "b", 0)->id, 0);
        const Sluice__Found *node = look(SLUICE__LOOK_UP__BY__NODE_NAME, "n", 0);
        assert_true(node->has_backend && node->is_root);
        stack_claim_end(first->claim);
        assert_int_equal(look(SLUICE__LOOK_UP__BY__NODE, "n", 0)->id, found->id);
        stack_do("export-remove e");
        assert_int_equal(look(SLUICE__LOOK_UP__BY__DEVICE, "e", 0)->id, 0);
    }
}

/* One step of the walk over root nodes; the node's name, or "" at the end. */
static const char *step(Sluice__LookUp *walk)
{
    const Sluice__Found *found = stack_call(stack_world()->graph, MAIL_LOOK_UP, mail_copy(walk));
    walk->has_after = walk->has_phase = walk->has_walk = true;
    walk->after = found->id;
    walk->phase = found->phase;
    walk->walk = found->walk;
    return found->id ? found->name : "";
}

static Sluice__LookUp *walk_roots(void)
{
    Sluice__LookUp *roots = MAIL_NEW(sluice__look_up);
    roots->by = SLUICE__LOOK_UP__BY__NEXT_ROOT;
    return roots;
}

static void walks_survive_what_changes_meanwhile_and_meet_nothing_twice(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        for (unsigned i = 1; i <= 4; i++) {
            stack_do("node-add driver=null name=n%u", i);
            stack_do("backend-add name=b%u node=n%u", i, i);
        }
        stack_do("node-add driver=null name=free");
        uint64_t at = look(SLUICE__LOOK_UP__BY__NEXT, "", 0)->id; /* abandoned: holds nothing */
        assert_int_equal(by_id(at)->references, 1);

        Sluice__LookUp *roots = walk_roots();
        assert_string_equal(step(roots), "n1");
        stack_do("backend-remove b1"); /* where both walks are */
        stack_do("medium-remove b3");
        stack_do("backend-add name=b5 node=n1");
        assert_string_equal(look(SLUICE__LOOK_UP__BY__NEXT, "", at)->name, "b2");
        assert_string_equal(step(roots), "n2");
        stack_do("backend-remove b2");
        stack_do("node-remove n2");
        assert_string_equal(step(roots), "n4");
        stack_do("medium-remove b4");
        assert_string_equal(step(roots), "n3");   /* n1, and n4, were met */
        assert_string_equal(step(roots), "free"); /* the same order again */
        assert_string_equal(step(roots), "");
        mail_free_body(roots);

        const Sluice__Found *found = look(SLUICE__LOOK_UP__BY__NEXT_NAMED, "", at);
        assert_string_equal(found->name, "b3");
        assert_string_equal(look(SLUICE__LOOK_UP__BY__NEXT_NAMED, "", found->id)->name, "b4");
    }
}

#define NODES 6

/* One that walks at its own pace, and how often it has met each. */
struct walker {
    Sluice__LookUp *walk;
    unsigned met[NODES], others;
    bool ended;
};

static void go(struct walker *walker)
{
    const char *name = walker->ended ? "" : step(walker->walk);
    walker->ended = !*name;
    if (*name == 'n')
        walker->met[name[1] - '0']++;
    else
        walker->others += *name != 0;
}

/* Media come and go at random, between the steps of two walks. */
static void walks_meet_each_node_once_whatever_backends_come_and_go(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        bool held[NODES];
        uint64_t random = seed;
        stack_do("backend-add name=empty");
        for (unsigned i = 0; i < NODES; i++) {
            held[i] = random_next(&random) % 2;
            stack_do("node-add driver=null name=n%u", i);
            stack_do(held[i] ? "backend-add name=b%u node=n%u" : "backend-add name=b%u", i, i);
        }
        struct walker walkers[2] = {{.walk = walk_roots()}, {.walk = walk_roots()}};
        while (!walkers[0].ended || !walkers[1].ended) {
            unsigned which = random_next(&random) % NODES;
            if (random_next(&random) % 2) {
                stack_do(held[which] ? "medium-remove b%u" : "medium-insert b%u n%u", which, which);
                held[which] = !held[which];
            }
            go(&walkers[random_next(&random) % 2]);
        }
        for (unsigned w = 0; w < 2; w++) {
            assert_int_equal(walkers[w].others, 0);
            for (unsigned i = 0; i < NODES; i++)
                assert_int_equal(walkers[w].met[i], 1);
            mail_free_body(walkers[w].walk);
        }
    }
}

static void a_change_that_is_refused_changes_no_walk(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=b node=n");
        stack_do("node-add driver=mock name=denied deny=write");
        const Sluice__Claimed *claimed = make(spec(NULL, NULL), PERM_WRITE);
        assert_int_equal(name_it(claimed->claim, "w").code, 0);
        Sluice__LookUp *roots = walk_roots();
        assert_string_equal(step(roots), "n");
        stack_refused(-EPERM, "gives nobody 'write'", "medium-insert w denied");
        assert_string_equal(step(roots), "denied");
        assert_string_equal(step(roots), "");
        mail_free_body(roots);
    }
}

/* So long a walk is known by where it is only. */
static void a_walk_that_many_others_overtake_ends_all_the_same(void **state)
{
    (void)state;
    stack_start(1, 1);
    for (unsigned i = 0; i < 4; i++) {
        stack_do("node-add driver=null name=n%u", i);
        stack_do(i % 2 ? "backend-add name=b%u node=n%u" : "backend-add name=b%u", i, i);
    }
    Sluice__LookUp *roots = walk_roots();
    assert_string_equal(step(roots), "n1");
    for (unsigned i = 0; i < 130; i++) {
        Sluice__LookUp *other = walk_roots();
        assert_string_equal(step(other), "n1");
        mail_free_body(other);
    }
    assert_string_equal(step(roots), "n3");
    assert_string_equal(step(roots), "n0");
    assert_string_equal(step(roots), "n2");
    assert_string_equal(step(roots), "");
    mail_free_body(roots);
    stack_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_backend_has_one_reference_and_nothing_else),
        cmocka_unit_test(the_last_reference_drains_drops_the_medium_and_ends_it_once),
        cmocka_unit_test(a_name_and_a_device_hold_references_of_their_own),
        cmocka_unit_test(a_backend_of_control_goes_when_its_name_does),
        cmocka_unit_test(a_shutdown_ends_backends_without_a_name_too),
        cmocka_unit_test(a_backend_and_its_node_are_made_together_and_go_together),
        cmocka_unit_test(what_fails_in_one_step_leaves_nothing),
        cmocka_unit_test(a_name_comes_and_goes_and_control_sees_it_meanwhile),
        cmocka_unit_test(each_rule_of_names_is_told),
        cmocka_unit_test(lists_have_what_they_are_asked_for),
        cmocka_unit_test(backends_are_found_by_name_device_and_node),
        cmocka_unit_test(walks_survive_what_changes_meanwhile_and_meet_nothing_twice),
        cmocka_unit_test(walks_meet_each_node_once_whatever_backends_come_and_go),
        cmocka_unit_test(a_change_that_is_refused_changes_no_walk),
        cmocka_unit_test(a_walk_that_many_others_overtake_ends_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
