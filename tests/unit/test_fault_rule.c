/* Rules of the fault filter. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "drivers/fault_rule.h"
#include "engine/clock.h"

static struct fault_rules rules;

static void given(const char *text, uint64_t seed)
{
    struct err err = {0};
    if (fault_rules_parse(&rules, text, seed, &err) < 0)
        fail_msg("%s: %s", text, err.text);
}

/* The rule, from 0, that acts on such a request; -1 for none. */
static int meets(enum op_kind kind, int64_t offset, uint64_t bytes)
{
    struct op op = {.kind = (uint8_t)kind, .offset = offset, .bytes = bytes};
    const struct fault_rule *rule = fault_rules_meet(&rules, &op);
    return rule ? (int)(rule - rules.rules) : -1;
}

static int teardown(void **state)
{
    (void)state;
    fault_rules_free(&rules);
    return 0;
}

static void a_rule_meets_its_kinds_only(void **state)
{
    (void)state;
    given("write,flush; any errno=ENOSPC", 1);
    assert_int_equal(meets(OP_WRITE, 0, 1), 0);
    assert_int_equal(meets(OP_FLUSH, 0, 0), 0);
    assert_int_equal(meets(OP_READ, 0, 1), 1);
    assert_int_equal(meets(OP_TRUNCATE, 0, 0), 1);
    assert_int_equal(meets(OP_LOAD_VMSTATE, 0, 1), 1);
    assert_int_equal(rules.rules[0].error, -EIO);
    assert_int_equal(rules.rules[1].error, -ENOSPC);
}

static void a_range_meets_what_touches_it(void **state)
{
    (void)state;
    given("any offset=4K length=4K", 1);
    assert_int_equal(meets(OP_READ, 0, 4096), -1);
    assert_int_equal(meets(OP_READ, 0, 4097), 0);
    assert_int_equal(meets(OP_WRITE, 8191, 1), 0);
    assert_int_equal(meets(OP_STATUS, 8191, 1), 0);
    assert_int_equal(meets(OP_STATUS, 8192, 1), -1);
    assert_int_equal(meets(OP_WRITE, 8192, 1), -1);
    assert_int_equal(meets(OP_FLUSH, 0, 0), -1);
    given("any offset=4K", 1);
    assert_int_equal(meets(OP_READ, INT64_MAX - 1, 1), 0);
    assert_int_equal(meets(OP_READ, 0, 1), -1);
}

static void nth_every_and_once_count_what_fits(void **state)
{
    (void)state;
    given("read nth=3; write every=2; zeroes once", 1);
    for (int i = 1; i <= 6; i++) {
        assert_int_equal(meets(OP_READ, 0, 1), i == 3 ? 0 : -1);
        assert_int_equal(meets(OP_WRITE, 0, 1), i % 2 == 0 ? 1 : -1);
        assert_int_equal(meets(OP_ZEROES, 0, 1), i == 1 ? 2 : -1);
    }
    assert_int_equal(rules.rules[1].met, 6);
    assert_int_equal(rules.rules[1].acted, 3);
}

static void a_probability_is_kept_and_replays_from_its_seed(void **state)
{
    (void)state;
    uint8_t first[1000];
    unsigned acted = 0;
    for (int run = 0; run < 2; run++) {
        given("read probability=0.25", 7);
        for (unsigned i = 0; i < 1000; i++) {
            uint8_t now = meets(OP_READ, 0, 1) == 0;
            if (run)
                assert_int_equal(now, first[i]);
            first[i] = now;
            acted += now;
        }
    }
    assert_in_range(acted, 400, 600);
    given("read probability=0", 1);
    assert_int_equal(meets(OP_READ, 0, 1), -1);
    given("read probability=1", 1);
    assert_int_equal(meets(OP_READ, 0, 1), 0);
}

static void a_delay_alone_is_no_error_and_a_torn_write_is_one(void **state)
{
    (void)state;
    given("read delay=10ms; write torn=512; flush delay=1 errno=ENODEV;;", 1);
    assert_int_equal(rules.n, 3);
    assert_int_equal(rules.rules[0].error, 0);
    assert_int_equal(rules.rules[0].delay_ns, 10 * NS_PER_MS);
    assert_int_equal(rules.rules[1].error, -EIO);
    assert_int_equal(rules.rules[1].torn, 512);
    assert_int_equal(rules.rules[2].error, -ENODEV);
    assert_int_equal(rules.rules[2].delay_ns, NS_PER_S);
}

static void what_is_wrong_is_told_and_the_old_rules_stay(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"fly", "'fly' is none"},
        {"read sometimes", "'sometimes' is no word"},
        {"read error=EIO", "'error=' is no word"},
        {"read errno=EFUNNY", "name of an error"},
        {"read nth=0", "whole number from 1"},
        {"read every=-1", "whole number from 1"},
        {"read probability=1.5", "from 0 to 1"},
        {"read probability=nan", "from 0 to 1"},
        {"read offset=x", "number of bytes"},
        {"read delay=soon", "number of seconds"},
        {"read torn=5", "writes only"},
    };
    given("write", 1);
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct err err = {0};
        assert_int_equal(fault_rules_parse(&rules, wrong[i][0], 1, &err), -EINVAL);
        if (!strstr(err.text, wrong[i][1]))
            fail_msg("%s: %s", wrong[i][0], err.text);
        assert_string_equal(err.field, "rules");
    }
    assert_int_equal(meets(OP_WRITE, 0, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_rule_meets_its_kinds_only, teardown),
        cmocka_unit_test_teardown(a_range_meets_what_touches_it, teardown),
        cmocka_unit_test_teardown(nth_every_and_once_count_what_fits, teardown),
        cmocka_unit_test_teardown(a_probability_is_kept_and_replays_from_its_seed, teardown),
        cmocka_unit_test_teardown(a_delay_alone_is_no_error_and_a_torn_write_is_one, teardown),
        cmocka_unit_test_teardown(what_is_wrong_is_told_and_the_old_rules_stay, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
