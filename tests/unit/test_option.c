/* Options: exact numbers, and a sentence for each refusal. */
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
    {.name = "latency", .type = OPTION_DURATION, .preset = "1.5ms"},
    {.name = "mode", .type = OPTION_CHOICE, .choices = "fast|safe|none", .preset = "safe"},
    {0},
};

static uint64_t size(const char *text)
{
    uint64_t bytes = 0;
    struct err err;
    assert_int_equal(option_parse_size(text, &bytes, &err), 0);
    return bytes;
}

static uint64_t duration(const char *text)
{
    uint64_t ns = 0;
    struct err err;
    assert_int_equal(option_parse_duration(text, &ns, &err), 0);
    return ns;
}

static void sizes_are_exact(void **state)
{
    (void)state;
    assert_int_equal(size("0"), 0);
    assert_int_equal(size("4096"), 4096);
    assert_int_equal(size("512B"), 512);
    assert_int_equal(size("1K"), 1024);
    assert_int_equal(size("1k"), 1024);
    assert_int_equal(size("64KiB"), 65536);
    assert_int_equal(size("1.5G"), UINT64_C(1610612736));
    assert_int_equal(size("2T"), UINT64_C(2) << 40);
    assert_int_equal(size("3P"), UINT64_C(3) << 50);
    assert_int_equal(size("15E"), UINT64_C(15) << 60);
    assert_int_equal(size("18446744073709551615"), UINT64_MAX);
    /* A double would round these. */
    assert_int_equal(size("9007199254740993"), UINT64_C(9007199254740993));
    assert_int_equal(size("7.000000000000000001E"), (UINT64_C(7) << 60) + 1);
    /* Rounded down to whole bytes. */
    assert_int_equal(size("0.1K"), 102);
    assert_int_equal(size("0.3G"), 322122547);
    assert_int_equal(size("0.0000000000000000000000000000001E"), 0);
}

static void sizes_of_the_wrong_form_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "K",
        "-1",
        "+1",
        " 1",
        "1 K",
        "1KB",
        "1.",
        ".5",
        "1.K",
        "1..5K",
        "0x10",
        "1KK",
        "1iB",
        "ib",
        "1e3",
        "1.5",
        "1,5G",
        "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiib"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint64_t bytes = 77;
        struct err err = {0};
        assert_int_equal(option_parse_size(wrong[i], &bytes, &err), -EINVAL);
        assert_int_equal(bytes, 77);
        assert_non_null(strstr(err.text, wrong[i]));
    }
}

static void sizes_beyond_64_bits_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"18446744073709551616", "16E", "15.9999999999999999999E0",
                                        "99999999999999999999999K"};
    uint64_t bytes;
    struct err err;
    assert_int_equal(option_parse_size(wrong[0], &bytes, &err), -EINVAL);
    assert_non_null(strstr(err.text, "too large"));
    assert_int_equal(option_parse_size(wrong[1], &bytes, &err), -EINVAL);
    assert_non_null(strstr(err.text, "too large"));
    assert_int_equal(option_parse_size(wrong[2], &bytes, &err), -EINVAL);
    assert_int_equal(option_parse_size(wrong[3], &bytes, &err), -EINVAL);
    assert_non_null(strstr(err.text, "too large"));
}

static void durations_are_exact(void **state)
{
    (void)state;
    assert_int_equal(duration("2"), UINT64_C(2000000000));
    assert_int_equal(duration("0.1"), 100000000);
    assert_int_equal(duration("1.5ms"), 1500000);
    assert_int_equal(duration("250us"), 250000);
    assert_int_equal(duration("7ns"), 7);
    assert_int_equal(duration("10s"), UINT64_C(10000000000));
}

static void durations_of_the_wrong_form_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "ms", "1m", "1h", "-1s", "1.5ns", "1 s", "1S"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint64_t ns;
        struct err err = {0};
        assert_int_equal(option_parse_duration(wrong[i], &ns, &err), -EINVAL);
        assert_non_null(strstr(err.text, wrong[i]));
    }
    uint64_t ns;
    struct err err;
    assert_int_equal(option_parse_duration("18446744074", &ns, &err), -EINVAL);
    assert_non_null(strstr(err.text, "too long"));
}

static void switches_take_the_usual_words(void **state)
{
    (void)state;
    static const char *const on[] = {"on", "yes", "true", "1", "ON"};
    static const char *const off[] = {"off", "no", "false", "0", "Off"};
    struct err err;
    bool value;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(option_parse_switch(on[i], &value, &err), 0);
        assert_true(value);
        assert_int_equal(option_parse_switch(off[i], &value, &err), 0);
        assert_false(value);
    }
    assert_int_equal(option_parse_switch("maybe", &value, &err), -EINVAL);
    assert_string_equal(err.text, "'maybe' is neither on nor off");
}

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
                  "driver test, option depth: '1.5' is not a whole number");
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
        cmocka_unit_test(sizes_are_exact),
        cmocka_unit_test(sizes_of_the_wrong_form_are_refused),
        cmocka_unit_test(sizes_beyond_64_bits_are_refused),
        cmocka_unit_test(durations_are_exact),
        cmocka_unit_test(durations_of_the_wrong_form_are_refused),
        cmocka_unit_test(switches_take_the_usual_words),
        cmocka_unit_test(a_set_holds_what_was_given_and_the_defaults),
        cmocka_unit_test(a_set_lists_the_values_in_force),
        cmocka_unit_test(no_table_takes_no_options),
        cmocka_unit_test(each_refusal_names_the_option_and_says_what_to_do),
        cmocka_unit_test(an_endless_name_is_refused_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
