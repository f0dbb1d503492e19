/* Sizes, durations and switches as people write and read them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/units.h"

static void sizes_are_exact_and_checked_for_overflow(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int ret;
        uint64_t bytes;
    } cases[] = {
        {"0", 0, 0},
        {"4096", 0, 4096},
        {"512B", 0, 512},
        {"64K", 0, 65536},
        {"64k", 0, 65536},
        {"64KiB", 0, 65536},
        {"64kib", 0, 65536},
        {"1.5G", 0, UINT64_C(3) << 29},
        {"2T", 0, UINT64_C(2) << 40},
        {"3P", 0, UINT64_C(3) << 50},
        {"15EiB", 0, UINT64_C(15) << 60},
        {"0x1000", 0, 4096},
        {"0x10K", -EINVAL, 0},
        {"18446744073709551615", 0, UINT64_MAX},
        /* A double would round these. */
        {"9007199254740993", 0, UINT64_C(9007199254740993)},
        {"7.000000000000000001E", 0, (UINT64_C(7) << 60) + 1},
        {"15.999999999999999999E", 0, UINT64_C(18446744073709551614)},
        /* What is below a whole byte is dropped. */
        {"0.1K", 0, 102},
        {"0.3G", 0, 322122547},
        {"18446744073709551616", -ERANGE, 0},
        {"16E", -ERANGE, 0},
        {"99999999999999999999999K", -ERANGE, 0},
        {"0x10000000000000000", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"K", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1 K", -EINVAL, 0},
        {"1.5", -EINVAL, 0},
        {"1.5B", -EINVAL, 0},
        {"1.", -EINVAL, 0},
        {"1.K", -EINVAL, 0},
        {"1..5K", -EINVAL, 0},
        {".5K", -EINVAL, 0},
        {"1,5G", -EINVAL, 0},
        {"0.0000000000000000001E", -EINVAL, 0},
        {"15.9999999999999999999E0", -EINVAL, 0},
        {"64KB", -EINVAL, 0},
        {"64KK", -EINVAL, 0},
        {"64iB", -EINVAL, 0},
        {"iB", -EINVAL, 0},
        {"64Q", -EINVAL, 0},
        {"0x", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t bytes = 0;
        int ret = units_parse_size(cases[i].text, &bytes);
        if (ret != cases[i].ret || bytes != cases[i].bytes)
            fail_msg("\"%s\": %d, %llu", cases[i].text, ret, (unsigned long long)bytes);
    }
    int64_t value;
    assert_int_equal(units_parse_signed("-8E", &value), 0);
    assert_true(value == INT64_MIN);
    assert_int_equal(units_parse_signed("8E", &value), -ERANGE);
}

static void durations_are_exact_and_checked_for_overflow(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int ret;
        uint64_t ns;
    } cases[] = {
        {"2", 0, UINT64_C(2000000000)},
        {"0.1", 0, 100000000},
        {"1.5", 0, 1500000000},
        {"10s", 0, UINT64_C(10000000000)},
        {"1.5ms", 0, 1500000},
        {"250us", 0, 250000},
        {"7ns", 0, 7},
        {"1m", 0, UINT64_C(60000000000)},
        {"1.5h", 0, UINT64_C(5400000000000)},
        {"0.0000000015", 0, 1},
        {"600000h", 0, UINT64_C(2160000000000000000)},
        {"6000000h", -ERANGE, 0},
        {"18446744074", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"ms", -EINVAL, 0},
        {"-1s", -EINVAL, 0},
        {"1.5ns", -EINVAL, 0},
        {"1 s", -EINVAL, 0},
        {"1S", -EINVAL, 0},
        {"1M", -EINVAL, 0},
        {"1d", -EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t ns = 0;
        int ret = units_parse_duration(cases[i].text, &ns);
        if (ret != cases[i].ret || ns != cases[i].ns)
            fail_msg("\"%s\": %d, %llu", cases[i].text, ret, (unsigned long long)ns);
    }
}

static void switches_take_the_usual_words(void **state)
{
    (void)state;
    static const char *const on[] = {"on", "yes", "true", "1", "ON", "Yes"};
    static const char *const off[] = {"off", "no", "false", "0", "Off", "NO"};
    bool value;
    for (size_t i = 0; i < sizeof on / sizeof *on; i++) {
        assert_int_equal(units_parse_switch(on[i], &value), 0);
        assert_true(value);
        assert_int_equal(units_parse_switch(off[i], &value), 0);
        assert_false(value);
    }
    assert_int_equal(units_parse_switch("2", &value), -EINVAL);
    assert_int_equal(units_parse_switch("maybe", &value), -EINVAL);
    assert_int_equal(units_parse_switch("", &value), -EINVAL);
}

static void what_is_written_reads_as_the_same_number(void **state)
{
    (void)state;
    char text[UNITS_TEXT];
    assert_string_equal(units_write_size(0, text), "0");
    assert_string_equal(units_write_size(511, text), "511B");
    assert_string_equal(units_write_size(UINT64_C(1) << 40, text), "1T");
    assert_string_equal(units_write_size(UINT64_C(3) << 29, text), "1536M");
    assert_string_equal(units_write_size(UINT64_MAX, text), "18446744073709551615B");
    assert_string_equal(units_write_duration(1500000, text), "1500us");
    assert_string_equal(units_write_duration(UINT64_C(120000000000), text), "2m");
    assert_string_equal(units_write_duration(UINT64_MAX, text), "18446744073709551615ns");
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t number = UINT64_C(1) << bit, back = 0;
        assert_int_equal(units_parse_size(units_write_size(number, text), &back), 0);
        assert_true(back == number);
        assert_int_equal(units_parse_duration(units_write_duration(number, text), &back), 0);
        assert_true(back == number);
    }
}

static void durations_are_printed_for_people(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "0"},
        {1, "1 ns"},
        {999, "999 ns"},
        {1000, "1.00 us"},
        {31400, "31.4 us"},
        {313000, "313 us"},
        {1250000, "1.25 ms"},
        {1500000000, "1.50 s"},
        {UINT64_C(7200000000000), "7200 s"},
    };
    char text[UNITS_TEXT];
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(units_print_duration(cases[i].ns, text), cases[i].text);
}

static void sizes_are_shown_with_their_unit(void **state)
{
    (void)state;
    char text[UNITS_TEXT];
    assert_string_equal(units_print_size(0, text), "0 B");
    assert_string_equal(units_print_size(1023, text), "1023 B");
    assert_string_equal(units_print_size(1536, text), "1.5 KiB");
    assert_string_equal(units_print_size(1 << 20, text), "1 MiB");
    assert_string_equal(units_print_size((1 << 20) + 1, text), "~1 MiB");
    assert_string_equal(units_print_size(UINT64_MAX, text), "~15.9 EiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_exact_and_checked_for_overflow),
        cmocka_unit_test(durations_are_exact_and_checked_for_overflow),
        cmocka_unit_test(switches_take_the_usual_words),
        cmocka_unit_test(what_is_written_reads_as_the_same_number),
        cmocka_unit_test(durations_are_printed_for_people),
        cmocka_unit_test(sizes_are_shown_with_their_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
