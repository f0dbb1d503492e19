/* Memory that is registered for requests: who is told, in a whole stepped engine (each seed is
 * another order of what happens), and what it does to requests, over the public interface. */
#include "api_rig.h"
#include "stack_rig.h"

#include <sys/mman.h>

static char memory[2][4096];

static Sluice__Buffer *buffer(unsigned which, bool on)
{
    Sluice__Buffer *body = MAIL_NEW(sluice__buffer);
    body->address = (uint64_t)(uintptr_t)memory[which];
    body->bytes = which ? 4096 : 2048;
    body->on = on;
    return body;
}

static void change(actor_addr to, unsigned which, bool on)
{
    stack_call(to, MAIL_BUFFER, buffer(which, on));
}

/* What the mock on this node was told, with commas. */
static const char *told(const char *node)
{
    static char text[1024];
    const Sluice__NodeInfo *info = stack_do("node-show %s", node)->node;
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < info->n_state; i++)
        if (strncmp(info->state[i]->key, "sent-", 5) == 0)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "",
                                     info->state[i]->value);
    return text;
}

static void it_reaches_the_driver_through_filters_before_it_is_answered(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        unsigned threads = STACK_THREADS(seed);
        stack_do("node-add driver=mock name=m reactor=0");
        stack_do("node-add driver=raw name=r child=m reactor=%u", 1 % threads);
        stack_do("node-add driver=fault name=f child=r reactor=%u", 2 % threads);
        stack_do("backend-add name=b node=f");
        actor_addr b = stack_find("b");
        change(b, 0, true);
        assert_string_equal(told("m"), "register 2048 bytes");
        change(b, 1, true);
        change(b, 0, false);
        assert_string_equal(told("m"),
                            "register 2048 bytes, register 4096 bytes, unregister 2048 bytes");
        change(b, 0, false); /* nothing to do, which is fine */
        change(b, 1, false);
        assert_string_equal(told("m"), "register 2048 bytes, register 4096 bytes, unregister 2048 "
                                       "bytes, unregister 4096 bytes");
    }
}

static void what_is_registered_twice_is_unregistered_twice(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m");
        stack_do("backend-add name=b node=m");
        stack_do("backend-add name=c node=m");
        actor_addr b = stack_find("b"), c = stack_find("c");
        change(b, 0, true);
        change(b, 0, true);
        change(c, 0, true);
        change(b, 0, false);
        change(c, 0, false);
        assert_string_equal(told("m"), "register 2048 bytes");
        change(b, 0, false);
        assert_string_equal(told("m"), "register 2048 bytes, unregister 2048 bytes");
    }
}

static void without_a_medium_it_is_kept_for_the_next(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m");
        stack_do("node-add driver=mock name=n");
        stack_do("backend-add name=b");
        actor_addr b = stack_find("b");
        change(b, 0, true);
        change(b, 1, true);
        change(b, 1, false);
        stack_do("medium-insert backend=b node=m");
        stack_settle();
        assert_string_equal(told("m"), "register 2048 bytes");
        stack_do("medium-remove b");
        stack_settle();
        assert_string_equal(told("m"), "register 2048 bytes, unregister 2048 bytes");
        stack_do("medium-insert backend=b node=n");
        stack_settle();
        assert_string_equal(told("n"), "register 2048 bytes");
        change(b, 0, false);
        assert_string_equal(told("n"), "register 2048 bytes, unregister 2048 bytes");
        stack_do("medium-remove b");
    }
}

/* Whether the mock on this node has been told of the memory, and not of its end, in turn. A node
 * that moves is told of both. */
static bool knows(const char *node, unsigned which)
{
    const Sluice__NodeInfo *info = stack_do("node-show %s", node)->node;
    const char *on = which ? "register 4096 bytes" : "register 2048 bytes";
    const char *off = which ? "unregister 4096 bytes" : "unregister 2048 bytes";
    bool known = false;
    for (size_t i = 0; i < info->n_state; i++) {
        bool begins = !strcmp(info->state[i]->value, on),
             ends = !strcmp(info->state[i]->value, off);
        assert_false(known ? begins : ends);
        known = begins || (known && !ends);
    }
    return known;
}

static void through_a_change_of_medium_each_knows_it_while_it_is_the_medium(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        unsigned threads = STACK_THREADS(seed);
        stack_do("node-add driver=mock name=m reactor=0");
        stack_do("node-add driver=mock name=n reactor=%u", 1 % threads);
        stack_do("node-add driver=mock name=no deny=write");
        stack_do("backend-add name=b node=m");
        actor_addr b = stack_find("b");
        change(b, 0, true);
        stack_refused(-EPERM, "gives nobody 'write'", "medium-change b no");
        assert_true(knows("m", 0));
        assert_string_equal(told("no"), "");
        stack_do("medium-change b n");
        stack_settle();
        assert_false(knows("m", 0));
        assert_true(knows("n", 0));
        stack_do("medium-change b n"); /* the same again */
        stack_settle();
        assert_true(knows("n", 0));
        change(b, 0, false);
        assert_false(knows("n", 0));
        stack_do("medium-change b m");
        stack_settle();
        assert_false(knows("m", 0));
    }
}

static void a_medium_that_is_put_back_knows_it_again(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=mock name=m");
        stack_do("node-add driver=mock name=n");
        stack_do("backend-add name=b node=m");
        actor_addr b = stack_find("b");
        stack_device()->load_error = -EIO;
        stack_device_ops(b, DEVICE_OFFERS_CHANGE_MEDIA);
        change(b, 0, true);
        stack_refused(-EIO, "the rig does not load", "medium-change b n");
        stack_settle();
        assert_non_null(strstr(told("n"), "register 2048 bytes")); /* for a moment */
        assert_false(knows("n", 0));
        assert_true(knows("m", 0));
        change(b, 0, false);
        assert_false(knows("m", 0));
    }
}

/* Whatever of the change is done by then, the answers mean that no medium knows it, or this one. */
static void what_comes_while_a_medium_is_changed_holds_for_the_new_one(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer changed, forgotten, registered;
        stack_do("node-add driver=mock name=m");
        stack_do("node-add driver=mock name=n");
        stack_do("backend-add name=b node=m");
        actor_addr b = stack_find("b");
        change(b, 0, true);
        stack_send(&changed, "medium-change b n");
        for (uint64_t steps = seed / 3; steps; steps--)
            stack_step();
        stack_ask(&forgotten, b, MAIL_BUFFER, buffer(0, false));
        stack_ask(&registered, b, MAIL_BUFFER, buffer(1, true));
        stack_await(&changed);
        stack_await(&forgotten);
        stack_await(&registered);
        assert_int_equal(changed.code | forgotten.code | registered.code, 0);
        stack_settle();
        assert_false(knows("m", 0) || knows("n", 0) || knows("m", 1));
        assert_true(knows("n", 1));
    }
}

/* One that was refused before that is not kept, and the next medium is not asked. */
static void who_registers_while_a_medium_goes_hears_of_the_one_that_is_there(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer gone, registered;
        bool changes = seed / 3 % 2;
        unsigned threads = STACK_THREADS(seed);
        stack_do("node-add driver=mock name=m reactor=0 error=12");
        stack_do("node-add driver=raw name=r child=m reactor=%u", 1 % threads);
        stack_do("node-add driver=raw name=s child=r reactor=0");
        stack_do("node-add driver=mock name=n reactor=0");
        stack_do("backend-add name=b node=s");
        actor_addr b = stack_find("b");
        stack_send(&gone, changes ? "medium-change b n" : "medium-remove b");
        for (uint64_t steps = seed / 6; steps; steps--)
            stack_step();
        stack_ask(&registered, b, MAIL_BUFFER, buffer(1, true));
        stack_await(&registered);
        stack_await(&gone);
        assert_int_equal(gone.code, 0);
        if (!changes)
            stack_do("medium-insert backend=b node=n");
        stack_settle();
        assert_int_equal(registered.code, knows("n", 1) ? 0 : -ENOMEM);
        stack_do("node-set m error=0");
    }
}

static void a_move_takes_it_out_of_one_reactor_and_to_the_other(void **state)
{
    (void)state;
    FOR_EACH_SEED_ON(seed, 2)
    {
        stack_do("node-add driver=mock name=m reactor=0");
        actor_addr b = stack_backend("r", "driver=raw child=m", "");
        change(b, 0, true);
        stack_do("backend-move name=b reactor=1");
        assert_string_equal(told("m"),
                            "register 2048 bytes, unregister 2048 bytes, register 2048 bytes");
        change(b, 0, false);
        stack_do("backend-move name=b reactor=0");
        assert_string_equal(told("m"), "register 2048 bytes, unregister 2048 bytes, register 2048 "
                                       "bytes, unregister 2048 bytes");
    }
}

/* Whatever comes first, the answer to who unregisters it means that no medium knows it. */
static void unregistered_while_the_medium_goes_it_is_known_to_none(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer removed, forgotten;
        stack_do("node-add driver=mock name=m reactor=%u", (unsigned)(seed % STACK_THREADS(seed)));
        stack_do("backend-add name=b node=m");
        actor_addr b = stack_find("b");
        change(b, 0, true);
        stack_send(&removed, "medium-remove b");
        for (uint64_t steps = seed / 3; steps; steps--)
            stack_step();
        stack_ask(&forgotten, b, MAIL_BUFFER, buffer(0, false));
        stack_await(&forgotten);
        assert_string_equal(told("m"), "register 2048 bytes, unregister 2048 bytes");
        stack_await(&removed);
        stack_settle();
        assert_string_equal(told("m"), "register 2048 bytes, unregister 2048 bytes");
    }
}

/* A filter asks its child, and hears that it was for nothing before that has answered. */
static void through_a_filter_each_is_answered_that_asked(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer registered[2], removed, closed;
        unsigned threads = STACK_THREADS(seed), refuses = seed / 6 % 2;
        stack_do("node-add driver=mock name=m reactor=%u error=%u", 1 % threads, refuses ? 12 : 0);
        actor_addr b = stack_backend("r", "driver=raw child=m reactor=0", "");
        stack_ask(&registered[0], b, MAIL_BUFFER, buffer(0, true));
        stack_ask(&registered[1], b, MAIL_BUFFER, buffer(1, true));
        for (uint64_t steps = seed / 3; steps; steps--)
            stack_step();
        stack_send(&removed, "medium-remove b");
        stack_await(&removed);
        stack_send(&closed, "node-remove r");
        for (unsigned i = 0; i < 2; i++) {
            stack_await(&registered[i]);
            assert_true(registered[i].code == 0 || (refuses && registered[i].code == -ENOMEM));
        }
        stack_await(&closed);
        assert_int_equal(closed.code, 0);
        if (!refuses)
            assert_false(knows("m", 0) || knows("m", 1));
        stack_do("medium-insert backend=b node=m");
        change(b, 0, false);
        change(b, 1, false);
    }
}

static void a_backend_that_closes_answers_who_registers(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer registered, forgotten, closed;
        stack_do("node-add driver=mock name=m reactor=%u", 1 % STACK_THREADS(seed));
        actor_addr b = stack_backend("r", "driver=raw child=m reactor=0", "");
        change(b, 0, true);
        stack_release("b");
        stack_send(&closed, "backend-remove b");
        for (uint64_t steps = seed / 3; steps; steps--)
            stack_step();
        stack_ask(&registered, b, MAIL_BUFFER, buffer(1, true));
        stack_ask(&forgotten, b, MAIL_BUFFER, buffer(0, false));
        stack_await(&registered);
        stack_await(&forgotten);
        stack_await(&closed);
        assert_true(!registered.code || registered.code == -ESHUTDOWN || registered.code == -ENXIO);
        assert_true(!forgotten.code || forgotten.code == -ENXIO);
        assert_int_equal(closed.code, 0);
        stack_settle();
        assert_false(knows("m", 0) || knows("m", 1));
    }
}

static void a_medium_that_cant_says_so_and_takes_requests_all_the_same(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer answer;
        stack_do("node-add driver=mock name=m error=12");
        stack_do("node-add driver=fault name=f child=m");
        stack_do("node-add driver=mock name=n");
        stack_do("backend-add name=b node=f");
        actor_addr b = stack_find("b");
        stack_ask(&answer, b, MAIL_BUFFER, buffer(0, true));
        stack_await(&answer);
        assert_int_equal(answer.code, -ENOMEM);
        assert_non_null(strstr(answer.text, "node m can't register 2048 bytes of memory"));
        stack_do("node-set m error=0");
        struct stack_op op;
        stack_submit(&op, b, OP_WRITE, 0, 512, 0, memory[0]);
        stack_await_op(&op);
        assert_int_equal(op.ret, 0);
        stack_do("medium-remove b"); /* it is not kept */
        stack_do("medium-insert backend=b node=n");
        stack_settle();
        assert_string_equal(told("m"), "register 2048 bytes, write 0+512");
        assert_string_equal(told("n"), "");
    }
}

/* --- Over the public interface */

static bool says(blk_context *context, const char *words)
{
    char *reply, *error;
    worked(sluice_request(context, "node-show node", &reply, &error), &error);
    bool found = strstr(reply, words);
    free(reply);
    return found;
}

static void closing_unregisters(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock");
    assert_int_equal(blk_register_buf(rig.blk, memory[0], 2048), 0);
    assert_int_equal(blk_register_buf(rig.blk, memory[1], 4096), 0);
    blk_unregister_buf(rig.blk, memory[0], 4096); /* not this, which is fine */
    blk_unregister_buf(rig.blk, memory[0], 2048);
    assert_true(says(rig.context, "unregister 2048 bytes"));
    assert_false(says(rig.context, "unregister 4096 bytes"));
    blk_close(&rig.blk);
    assert_true(says(rig.context, "unregister 4096 bytes"));
    rig_close(&rig);
}

/* Memory that is locked is read into although the process itself may not touch it. */
static void a_file_reads_into_registered_memory_without_looking_it_up(void **state)
{
    (void)state;
    enum { BYTES = 64 * 4096 };
    char path[] = "/var/tmp/sluice-buffer.XXXXXX", node[100];
    int fd = mkstemp(path);
    char *data = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(data, MAP_FAILED);
    assert_int_equal(ftruncate(fd, BYTES), 0);
    snprintf(node, sizeof node, "driver=file filename=%s", path);
    struct rig rig = rig_open(0, node);
    memset(data, 'x', BYTES);
    if (blk_register_buf(rig.blk, data, BYTES) == 0) {
        assert_int_equal(blk_pwrite(rig.blk, 100, 5000, data + 77, BLK_FUA), 5000);
        memset(data, 0, BYTES);
        assert_int_equal(mprotect(data, BYTES, PROT_NONE), 0);
        assert_int_equal(blk_pread(rig.blk, 0, 8192, data + BYTES - 8192, 0), 8192);
        assert_int_equal(mprotect(data, BYTES, PROT_READ | PROT_WRITE), 0);
        assert_true(data[BYTES - 8192 + 99] == 0 && data[BYTES - 8192 + 100] == 'x' &&
                    data[BYTES - 8192 + 5099] == 'x' && data[BYTES - 8192 + 5100] == 0);
        blk_unregister_buf(rig.blk, data, BYTES);
        assert_int_equal(mprotect(data, BYTES, PROT_NONE), 0);
        assert_int_equal(blk_pread(rig.blk, 0, 4096, data, 0), -EFAULT);
    } else {
        print_message("memory may not be locked here\n");
    }
    rig_close(&rig);
    munmap(data, BYTES);
    close(fd);
    unlink(path);
}

/* Nothing else than that it is registered lets these reads work. */
static void reads_into_what_is_closed_to_the_process(blk *blk, char *data, size_t bytes)
{
    assert_int_equal(mprotect(data, bytes, PROT_NONE), 0);
    assert_int_equal(blk_pread(blk, 0, 4096, data, 0), 4096);
    assert_int_equal(mprotect(data, bytes, PROT_READ | PROT_WRITE), 0);
}

static void a_file_that_has_moved_or_has_become_the_medium_knows_it(void **state)
{
    (void)state;
    enum { BYTES = 16 * 4096 };
    char path[] = "/var/tmp/sluice-buffer.XXXXXX", *error;
    int fd = mkstemp(path);
    char *data = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(data, MAP_FAILED);
    memset(data, 'x', BYTES);
    assert_int_equal(ftruncate(fd, BYTES), 0);
    struct rig rig = {.engine = start(&(struct sluice_options){.threads = 2})};
    rig.context = context_on(rig.engine, 0);
    char line[200];
    snprintf(line, sizeof line, "node-add name=node driver=file filename=%s reactor=0", path);
    request(rig.context, line);
    request(rig.context, "node-add name=other driver=memory size=1M");
    request(rig.context, "backend-add name=disk node=node");
    rig.blk = open_blk(rig.context, "disk", BLK_WRITABLE);
    if (blk_register_buf(rig.blk, data, BYTES) == 0) {
        reads_into_what_is_closed_to_the_process(rig.blk, data, BYTES);
        worked(blk_set_reactor(rig.blk, 1, false, &error), &error);
        reads_into_what_is_closed_to_the_process(rig.blk, data, BYTES);
        request(rig.context, "medium-change disk other");
        assert_int_equal(blk_pread(rig.blk, 0, 4096, data, 0), 4096);
        request(rig.context, "medium-change disk node");
        reads_into_what_is_closed_to_the_process(rig.blk, data, BYTES);
        blk_unregister_buf(rig.blk, data, BYTES);
    } else {
        print_message("memory may not be locked here\n");
    }
    rig_close(&rig);
    munmap(data, BYTES);
    close(fd);
    unlink(path);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(it_reaches_the_driver_through_filters_before_it_is_answered),
        TEST(what_is_registered_twice_is_unregistered_twice),
        TEST(without_a_medium_it_is_kept_for_the_next),
        TEST(through_a_change_of_medium_each_knows_it_while_it_is_the_medium),
        TEST(a_medium_that_is_put_back_knows_it_again),
        TEST(what_comes_while_a_medium_is_changed_holds_for_the_new_one),
        TEST(who_registers_while_a_medium_goes_hears_of_the_one_that_is_there),
        TEST(a_move_takes_it_out_of_one_reactor_and_to_the_other),
        TEST(unregistered_while_the_medium_goes_it_is_known_to_none),
        TEST(through_a_filter_each_is_answered_that_asked),
        TEST(a_backend_that_closes_answers_who_registers),
        TEST(a_medium_that_cant_says_so_and_takes_requests_all_the_same),
        TEST(closing_unregisters),
        TEST(a_file_reads_into_registered_memory_without_looking_it_up),
        TEST(a_file_that_has_moved_or_has_become_the_medium_knows_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
