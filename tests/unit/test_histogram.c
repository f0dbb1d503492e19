/* Latencies as sluice-bench keeps them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bench/histogram.h"

static void every_value_falls_in_a_cell_whose_top_is_at_most_1_6_percent_above(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++)
        for (uint64_t add = 0; add < 3; add++) {
            uint64_t value = (UINT64_C(1) << shift) + add * (UINT64_C(1) << shift) / 3;
            unsigned cell = histogram_cell(value);
            assert_true(cell < HISTOGRAM_CELLS);
            uint64_t top = histogram_top(cell);
            assert_true(top >= value);
            assert_true(top - value <= value / 64);
        }
    assert_int_equal(histogram_cell(UINT64_MAX), HISTOGRAM_CELLS - 1);
}

static void cells_follow_each_other_without_a_gap(void **state)
{
    (void)state;
    for (unsigned cell = 0; cell + 1 < HISTOGRAM_CELLS; cell++) {
        uint64_t top = histogram_top(cell);
        assert_int_equal(histogram_cell(top), cell);
        assert_int_equal(histogram_cell(top + 1), cell + 1);
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
        assert_true(got >= exact && got <= exact * 1.017 + 1);
    }
    assert_int_equal(histogram_quantile(&histogram, 1), 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_falls_in_a_cell_whose_top_is_at_most_1_6_percent_above),
        cmocka_unit_test(cells_follow_each_other_without_a_gap),
        cmocka_unit_test(quantiles_of_a_known_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
