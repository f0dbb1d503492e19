/* Names in a sentence: as many as there is room for, each whole, and how many more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "actors/name_list.h"

static void names_that_fit_are_listed(void **state)
{
    (void)state;
    struct name_list list = {0};
    name_list_add(&list, "node", "n");
    name_list_add(&list, "", "context 1");
    name_list_add(&list, "client", "");
    assert_int_equal(name_list_end(&list), 3);
    assert_string_equal(list.text, "node 'n', 'context 1', client ''");
    struct name_list none = {0};
    assert_int_equal(name_list_end(&none), 0);
    assert_string_equal(none.text, "");
}

/* Of every length, around that of the text and far beyond it; as the first one, and later. */
static void one_that_does_not_fit_is_counted_and_others_after_it_are_named(void **state)
{
    (void)state;
    char name[1000], expected[400];
    for (size_t length = 0; length < sizeof name; length++)
        for (unsigned before = 0; before < 2; before++) {
            struct {
                struct name_list list;
                char behind[1200];
            } all = {{{0}, 0, 0, 0}, {0}};
            memset(name, 'x', length);
            name[length] = 0;
            if (before)
                name_list_add(&all.list, "", "a");
            name_list_add(&all.list, "device", name);
            name_list_add(&all.list, "device", name);
            name_list_add(&all.list, "device", name);
            unsigned left = all.list.n - all.list.named;
            size_t named = strlen(all.list.text);
            assert_int_equal(name_list_end(&all.list), 3 + before);
            snprintf(expected, sizeof expected, "%s%u more", named ? " and " : "", left);
            assert_string_equal(all.list.text + named, left ? expected : "");
            assert_int_equal(left < 3, length < (before ? 262 : 267));
            for (size_t i = 0; i < sizeof all.behind; i++)
                assert_int_equal(all.behind[i], 0);
        }
}

static void short_ones_find_room_behind_a_long_one(void **state)
{
    (void)state;
    char name[1000];
    memset(name, 'x', sizeof name);
    name[999] = 0;
    struct name_list list = {0};
    name_list_add(&list, "device", name);
    name_list_add(&list, "", "a");
    name_list_add(&list, "", "b");
    assert_int_equal(name_list_end(&list), 3);
    assert_string_equal(list.text, "'a', 'b' and 1 more");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_fit_are_listed),
        cmocka_unit_test(one_that_does_not_fit_is_counted_and_others_after_it_are_named),
        cmocka_unit_test(short_ones_find_room_behind_a_long_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
