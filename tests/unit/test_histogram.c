/* Latencies as backends and sluice-bench keep them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/histogram.h"

static void every_value_is_told_within_0_8_percent(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++)
        for (uint64_t add = 0; add < 3; add++) {
            uint64_t value = (UINT64_C(1) << shift) + add * ((UINT64_C(1) << shift) / 3);
            unsigned cell = histogram_cell(value);
            assert_true(cell < HISTOGRAM_CELLS);
            uint64_t told = histogram_middle(cell);
            assert_true((told > value ? told - value : value - told) <= value / 125);
        }
    assert_int_equal(histogram_cell(UINT64_MAX), HISTOGRAM_CELLS - 1);
}

static void cells_follow_each_other_in_order(void **state)
{
    (void)state;
    for (unsigned cell = 0; cell + 1 < HISTOGRAM_CELLS; cell++) {
        assert_int_equal(histogram_cell(histogram_middle(cell)), cell);
        assert_true(histogram_middle(cell) < histogram_middle(cell + 1));
    }
}

static void quantiles_of_a_known_distribution(void **state)
{
    (void)state;
    static struct histogram histogram;
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
    for (uint64_t value = 1; value <= 100000; value++)
        histogram_add(&histogram, value);
    assert_int_equal(histogram.count, 100000);
    assert_int_equal(histogram.min, 1);
    assert_int_equal(histogram.max, 100000);
    assert_int_equal(histogram.sum, UINT64_C(5000050000));
    const double fractions[] = {0.01, 0.5, 0.9, 0.99, 0.999};
    for (unsigned i = 0; i < 5; i++) {
        double exact = fractions[i] * 100000;
        double got = (double)histogram_quantile(&histogram, fractions[i]);
        assert_true(got >= exact * 0.992 - 1 && got <= exact * 1.008 + 1);
    }
    assert_int_equal(histogram_quantile(&histogram, 1), 100000);
}

/* 99 of 100 do not exceed 10. */
static void a_quantile_is_the_least_value_that_so_many_do_not_exceed(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    for (unsigned i = 0; i < 100; i++)
        histogram_add(&histogram, i < 80 ? 1 : i < 99 ? 10 : 50);
    assert_int_equal(histogram_quantile(&histogram, 0.8), 1);
    assert_int_equal(histogram_quantile(&histogram, 0.81), 10);
    assert_int_equal(histogram_quantile(&histogram, 0.99), 10);
    assert_int_equal(histogram_quantile(&histogram, 0.999), 50);
    assert_int_equal(histogram_quantile(&histogram, 0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_is_told_within_0_8_percent),
        cmocka_unit_test(cells_follow_each_other_in_order),
        cmocka_unit_test(quantiles_of_a_known_distribution),
        cmocka_unit_test(a_quantile_is_the_least_value_that_so_many_do_not_exceed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
