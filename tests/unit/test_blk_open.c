/* The public interface in a stepped engine: blks that open while their backend changes; each seed
 * is another order of what happens. */
#include "stack_rig.h"

#include "actors/context.h"

/* What a program has, beside the rig's own port. */
static struct sluice program;
static blk_context *context;

static void open_context(void)
{
    program = (struct sluice){.engine = stack_engine(), .world = *stack_world()};
    assert_int_equal(blk_context_open(&program, 0, &context, NULL), 0);
}

static blk *open_blk(const char *name)
{
    blk *blk;
    char *error;
    if (blk_open(context, name, 0, &blk, &error) < 0)
        fail_msg("%s", error);
    return blk;
}

/* All that is told has been heard. */
static void hear(const struct stack_answer *answer)
{
    stack_await(answer);
    assert_int_equal(answer->code, 0);
    stack_settle();
    blk_poll(context);
}

/* --- As a medium comes and goes */

static void a_blk_that_opens_while_a_medium_comes_or_goes_knows_it_in_the_end(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n size=1M");
        stack_do("backend-add name=b");
        open_context();
        blk *before = open_blk("b"); /* which is told, too */
        for (unsigned steps = 0; steps < 24; steps++) {
            struct stack_answer changed;
            bool comes = steps % 2 == 0;
            stack_send(&changed, comes ? "medium-insert b n" : "medium-remove b");
            for (unsigned i = 0; i < steps / 2; i++)
                stack_step();
            blk *blk = open_blk("b");
            hear(&changed);
            assert_int_equal(blk_is_inserted(blk), comes);
            assert_int_equal(blk_getlength(blk), comes ? 1 << 20 : -ENOMEDIUM);
            assert_int_equal(blk_getlength(before), comes ? 1 << 20 : -ENOMEDIUM);
            blk_close(&blk);
        }
        blk_close(&before);
        blk_context_close(&context);
    }
}

static void one_that_is_refused_while_it_opens_is_told_nothing(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("node-add driver=null name=n size=1M");
        stack_do("backend-add name=b");
        open_context();
        /* All requests but those of control are given to others. */
        struct stack_answer changed;
        actor_addr b = stack_find("b");
        const Sluice__SessionGrant *all =
            stack_call(b, MAIL_SESSION_OPEN, stack_session(UINT32_MAX, 0));
        for (unsigned steps = 0; steps < 12; steps++) {
            blk *blk;
            char *error;
            stack_send(&changed, steps % 2 ? "medium-remove b" : "medium-insert b n");
            for (unsigned i = 0; i < steps; i++)
                stack_step();
            assert_int_equal(blk_open(context, "b", 0, &blk, &error), -ENOBUFS);
            assert_non_null(strstr(error, "has granted all of its"));
            assert_null(blk);
            free(error);
            hear(&changed);
        }
        stack_call(b, MAIL_SESSION_CLOSE, stack_session_end(all->session));
        stack_release("b");
        stack_do("backend-remove b"); /* nothing of them is left */
        blk_context_close(&context);
    }
}

/* --- As names come and go */

static void send_name(struct stack_answer *answer, uint64_t claim, const char *name)
{
    Sluice__BackendName *mail = MAIL_NEW(sluice__backend_name);
    mail->claim = claim;
    if (name)
        mail_set(&mail->name, name);
    stack_ask(answer, stack_world()->graph, MAIL_BACKEND_NAME, mail);
}

/* As all who look it up see it. */
static void assert_name(const blk *blk, const char *name)
{
    struct blk_info info;
    assert_int_equal(blk_by_id(context, blk_id(blk), &info), 1);
    assert_string_equal(info.name, name);
    assert_string_equal(blk_name(blk), name);
}

static void a_blk_that_opens_while_its_backend_is_renamed_knows_the_name_in_the_end(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        open_context();
        stack_do("backend-add name=b");
        struct blk_info info;
        assert_int_equal(blk_by_name(context, "b", &info), 1);
        struct stack_answer claimed, named;
        stack_claim(&claimed, "b", 0, PERM_ALL);
        stack_await(&claimed);
        uint64_t claim = ((const Sluice__Claimed *)claimed.body)->claim;
        for (unsigned steps = 0; steps < 16; steps++) {
            bool goes = steps % 2 == 0;
            send_name(&named, claim, goes ? NULL : "b");
            for (unsigned i = 0; i < steps / 2; i++)
                stack_step();
            blk *blk;
            assert_int_equal(blk_open_id(context, info.id, 0, &blk, NULL), 0);
            hear(&named);
            assert_name(blk, goes ? "" : "b");
            blk_close(&blk);
        }
        blk_context_close(&context);
        stack_release("b");
    }
}

/* Two take turns in naming it. */
static void a_name_that_others_have_given_meanwhile_is_known_in_the_end(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        open_context();
        stack_do("backend-add name=b");
        blk *blk = open_blk("b");
        struct stack_answer claimed, removed, named;
        stack_claim(&claimed, "b", 0, PERM_ALL);
        stack_await(&claimed);
        uint64_t claim = ((const Sluice__Claimed *)claimed.body)->claim;
        for (unsigned steps = 0; steps < 8; steps++) {
            send_name(&removed, claim, NULL);
            send_name(&named, claim, "other");
            for (unsigned i = 0; i < steps; i++)
                stack_step();
            assert_int_equal(blk_remove_name(blk), 0); /* before, between, or after those */
            hear(&removed);
            hear(&named);
            struct blk_info info;
            assert_int_equal(blk_by_id(context, blk_id(blk), &info), 1);
            assert_name(blk, info.name);
            if (*info.name)
                assert_int_equal(blk_remove_name(blk), 0);
            assert_int_equal(blk_add_name(blk, "b", NULL), 0);
            assert_name(blk, "b");
        }
        blk_close(&blk);
        blk_context_close(&context);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blk_that_opens_while_a_medium_comes_or_goes_knows_it_in_the_end),
        cmocka_unit_test(one_that_is_refused_while_it_opens_is_told_nothing),
        cmocka_unit_test(a_blk_that_opens_while_its_backend_is_renamed_knows_the_name_in_the_end),
        cmocka_unit_test(a_name_that_others_have_given_meanwhile_is_known_in_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
