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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(it_reaches_the_driver_through_filters_before_it_is_answered),
        TEST(what_is_registered_twice_is_unregistered_twice),
        TEST(without_a_medium_it_is_kept_for_the_next),
        TEST(unregistered_while_the_medium_goes_it_is_known_to_none),
        TEST(a_medium_that_cant_says_so_and_takes_requests_all_the_same),
        TEST(closing_unregisters),
        TEST(a_file_reads_into_registered_memory_without_looking_it_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
