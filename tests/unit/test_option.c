/* Options: what is given, what is preset, and a sentence for each refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <errno.h>
#include <string.h>

#include "drivers/option.h"

static const struct option table[] = {
    {.name = "filename", .type = OPTION_STRING, .required = true, .help = "path of the file"},
    {.name = "size", .type = OPTION_SIZE, .preset = "1G", .min = 512, .max = UINT64_C(1) << 40},
    {.name = "read-only", .type = OPTION_SWITCH, .preset = "off"},
    {.name = "depth", .type = OPTION_INTEGER, .max = 64},
    {.name = "latency", .type = OPTION_DURATION, .preset = "1.5ms", .max = UINT64_C(3600000000000)},
    {.name = "mode", .type = OPTION_CHOICE, .choices = "fast|safe|none", .preset = "safe"},
    {0},
};

static void a_set_holds_what_was_given_and_the_defaults(void **state)
{
    (void)state;
    const struct option_pair pairs[] = {{"filename", "/x"}, {"read_only", "yes"}, {"depth", "64"}};
    struct err err;
    struct option_set *set = option_check(table, "driver test", pairs, 3, &err);
    assert_non_null(set);
    assert_string_equal(option_string(set, "filename"), "/x");
    assert_true(option_switch(set, "read-only"));
    assert_true(option_given(set, "read-only"));
    assert_int_equal(option_number(set, "depth"), 64);
    assert_int_equal(option_number(set, "size"), 1 << 30);
    assert_false(option_given(set, "size"));
    assert_int_equal(option_number(set, "latency"), 1500000);
    assert_string_equal(option_string(set, "mode"), "safe");
    option_set_free(&set);
    assert_null(set);
    option_set_free(&set);
}

static void a_set_lists_the_values_in_force(void **state)
{
    (void)state;
    const struct option_pair pairs[] = {{"filename", "/x"}};
    struct err err;
    struct option_set *set = option_check(table, "driver test", pairs, 1, &err);
    const char *name, *value;
    char all[200] = "";
    for (size_t i = 0; option_next(set, &i, &name, &value);)
        sprintf(all + strlen(all), "%s=%s ", name, value);
    assert_string_equal(all, "filename=/x size=1G read-only=off latency=1.5ms mode=safe ");
    assert_null(option_string(set, "depth"));
    option_set_free(&set);
}

static void no_table_takes_no_options(void **state)
{
    (void)state;
    struct err err;
    struct option_set *set = option_check(NULL, "driver test", NULL, 0, &err);
    assert_non_null(set);
    option_set_free(&set);
    const struct option_pair pair = {"size", "1"};
    assert_null(option_check(NULL, "driver test", &pair, 1, &err));
    assert_string_equal(err.text, "driver test has no option 'size'; it takes none");
}

static void check_refusal(const char *key, const char *value, const char *field, const char *text)
{
    const struct option_pair pairs[] = {{"filename", "/x"}, {key, value}};
    struct err err = {0};
    assert_null(option_check(table, "driver test", pairs, 2, &err));
    assert_int_equal(err.code, -EINVAL);
    assert_string_equal(err.field, field);
    assert_string_equal(err.text, text);
}

static void each_refusal_names_the_option_and_says_what_to_do(void **state)
{
    (void)state;
    check_refusal("siez", "1", "siez",
                  "driver test has no option 'siez': did you mean 'size'? Its options are "
                  "filename, size, read-only, depth, latency, mode");
    check_refusal("volume", "1", "volume",
                  "driver test has no option 'volume'; its options are filename, size, read-only, "
                  "depth, latency, mode");
    check_refusal("filename", "/y", "filename",
                  "driver test: option filename is given twice; give it once");
    check_refusal("size", "511", "size",
                  "driver test, option size: '511' is too small; the least is 512B");
    check_refusal("size", "2T", "size",
                  "driver test, option size: '2T' is too large; the most is 1T");
    check_refusal("depth", "65", "depth",
                  "driver test, option depth: '65' is too large; the most is 64");
    check_refusal("depth", "1.5", "depth",
                  "driver test, option depth: '1.5' is not a whole number; give one, e.g. 16");
    check_refusal("depth", "99999999999999999999", "depth",
                  "driver test, option depth: '99999999999999999999' is too large a number; the "
                  "largest is under 16E");
    check_refusal("size", "1.5", "size",
                  "driver test, option size: '1.5' is not a size; give a whole number of bytes, or "
                  "a number with K, M, G, T, P or E (powers of 1024), e.g. 1.5G");
    check_refusal("size", "16E", "size",
                  "driver test, option size: '16E' is too large a size; the largest is under 16E");
    check_refusal("latency", "1 s", "latency",
                  "driver test, option latency: '1 s' is not a time; give a number of seconds, or "
                  "one with ns, us, ms, s, m or h, e.g. 250us");
    check_refusal("latency", "18446744074", "latency",
                  "driver test, option latency: '18446744074' is too long a time; the longest is "
                  "584 years");
    check_refusal("latency", "61m", "latency",
                  "driver test, option latency: '61m' is too large; the most is 1h");
    check_refusal("mode", "fas", "mode",
                  "driver test, option mode: 'fas' is not one of fast|safe|none");
    check_refusal("mode", "", "mode", "driver test, option mode: '' is not one of fast|safe|none");
    check_refusal("read-only", "2", "read-only",
                  "driver test, option read-only: '2' is neither on nor off");

    struct err err = {0};
    assert_null(option_check(table, "driver test", NULL, 0, &err));
    assert_string_equal(err.field, "filename");
    assert_string_equal(err.text, "driver test needs the option filename: path of the file");
}

static void an_endless_name_is_refused_too(void **state)
{
    (void)state;
    char key[5000];
    memset(key, 'k', sizeof(key));
    key[sizeof(key) - 1] = '\0';
    const struct option_pair pair = {key, key};
    struct err err = {0};
    assert_null(option_check(table, "driver test", &pair, 1, &err));
    assert_non_null(strstr(err.text, "its options are filename"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_holds_what_was_given_and_the_defaults),
        cmocka_unit_test(a_set_lists_the_values_in_force),
        cmocka_unit_test(no_table_takes_no_options),
        cmocka_unit_test(each_refusal_names_the_option_and_says_what_to_do),
        cmocka_unit_test(an_endless_name_is_refused_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
