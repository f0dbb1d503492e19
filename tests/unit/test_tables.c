/* The small tables of the runtime: addresses, awaited replies, the arena for frames, buffers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/arena.h"
#include "engine/buffer.h"
#include "engine/calls.h"
#include "engine/directory.h"

/* --- Addresses */

static void an_address_tells_its_home_until_it_dies(void **state)
{
    (void)state;
    struct directory directory;
    directory_init(&directory);
    uint64_t a = directory_add(&directory, 3), b = directory_add(&directory, 0);
    assert_true(a != 0 && b != 0 && a != b);
    assert_int_equal(directory_home(&directory, a), 3);
    assert_int_equal(directory_home(&directory, b), 0);
    directory_move(&directory, a, 7);
    assert_int_equal(directory_home(&directory, a), 7);
    directory_remove(&directory, a);
    assert_int_equal(directory_home(&directory, a), -1);
    assert_int_equal(directory_home(&directory, b), 0);
    assert_int_equal(directory_home(&directory, 0), -1);
    assert_int_equal(directory_home(&directory, UINT64_MAX), -1);
    assert_int_equal(directory_home(&directory, UINT64_C(1) << 32 | DIRECTORY_SLOTS), -1);
    directory_fini(&directory);
}

static void a_full_directory_says_so_and_a_slot_comes_back_with_another_generation(void **state)
{
    (void)state;
    struct directory directory;
    directory_init(&directory);
    static uint64_t all[DIRECTORY_SLOTS];
    for (unsigned i = 1; i < DIRECTORY_SLOTS; i++)
        assert_true((all[i] = directory_add(&directory, i % 64)) != 0);
    assert_true(directory_add(&directory, 1) == 0);
    directory_remove(&directory, all[500]);
    uint64_t again = directory_add(&directory, 2);
    assert_int_equal(address_slot(again), address_slot(all[500]));
    assert_true(address_generation(again) != address_generation(all[500]));
    assert_int_equal(directory_home(&directory, all[500]), -1);
    assert_int_equal(directory_home(&directory, again), 2);
    for (unsigned i = 1; i < DIRECTORY_SLOTS; i++)
        assert_int_equal(directory_home(&directory, all[i]), i == 500 ? -1 : (int)(i % 64));
    directory_fini(&directory);
}

static void a_freed_slot_rests_while_others_are_free(void **state)
{
    (void)state;
    struct directory directory;
    directory_init(&directory);
    uint64_t first = directory_add(&directory, 1);
    directory_remove(&directory, first);
    for (unsigned i = 0; i < DIRECTORY_SLOTS - 2; i++) {
        uint64_t address = directory_add(&directory, 1);
        assert_int_not_equal(address_slot(address), address_slot(first));
        directory_remove(&directory, address);
    }
    assert_int_equal(address_slot(directory_add(&directory, 1)), address_slot(first));
    directory_fini(&directory);
}

/* --- Awaited replies */

static void replied(void)
{
}

static void a_reply_is_taken_once_and_not_for_the_next_call_of_its_slot(void **state)
{
    (void)state;
    struct calls calls = {0};
    call_fn *fn = NULL;
    void *arg = NULL;
    uint64_t tags[10];
    int args[10];
    for (unsigned i = 0; i < 10; i++)
        assert_true((tags[i] = calls_add(&calls, replied, &args[i])) != 0);
    for (unsigned i = 10; i-- > 0;) {
        assert_true(calls_take(&calls, tags[i], &fn, &arg));
        assert_ptr_equal(arg, &args[i]);
        assert_true(fn == replied);
        assert_false(calls_take(&calls, tags[i], &fn, &arg));
    }
    uint64_t before = tags[0];
    for (unsigned i = 0; i < 10; i++) {
        uint64_t tag = calls_add(&calls, replied, &args[0]);
        assert_int_equal((uint32_t)tag, (uint32_t)before);
        assert_false(calls_take(&calls, before, &fn, &arg));
        assert_true(calls_take(&calls, tag, &fn, &arg));
        before = tag;
    }
    assert_false(calls_take(&calls, 0, &fn, &arg));
    assert_false(calls_take(&calls, UINT64_MAX, &fn, &arg));
    calls_fini(&calls);
}

/* --- The arena */

static void *give(struct arena *arena, size_t bytes)
{
    void *memory = arena->allocator.alloc(arena->allocator.allocator_data, bytes);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % 16, 0);
    memset(memory, 0x5a, bytes);
    return memory;
}

static void an_arena_gives_what_does_not_overlap_and_grows_to_what_was_needed(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 256);
    unsigned char *a = give(&arena, 100), *b = give(&arena, 1), *c = give(&arena, 5000);
    assert_true(b >= a + 100 || a > b);
    memset(c, 1, 5000);
    assert_int_equal(a[99], 0x5a);
    assert_int_equal(b[0], 0x5a);
    arena_reset(&arena);
    assert_true(arena.size >= 5000);
    give(&arena, 100);
    give(&arena, 1);
    give(&arena, 5000);
    assert_null(arena.extra); /* it all fits now */
    arena_reset(&arena);
    assert_ptr_equal(give(&arena, 10), arena.memory);
    arena_fini(&arena);
}

static void an_arena_does_not_keep_the_size_of_one_huge_message(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 256);
    give(&arena, 8 << 20);
    arena_reset(&arena);
    assert_int_equal(arena.size, 256);
    assert_null(arena.extra);
    arena_fini(&arena);
}

/* --- Buffers */

static void buffers_are_aligned_and_counted(void **state)
{
    (void)state;
    struct buffers buffers;
    buffers_init(&buffers);
    static const size_t sizes[] = {0, 1, 512, 4096, 4097, 1 << 20};
    void *all[6];
    size_t held = 0;
    for (unsigned i = 0; i < 6; i++) {
        all[i] = buffer_alloc(&buffers, sizes[i]);
        assert_non_null(all[i]);
        assert_int_equal((uintptr_t)all[i] % BUFFER_ALIGN, 0);
        memset(all[i], (int)i, sizes[i]);
        held += sizes[i] ? sizes[i] : 1;
        assert_int_equal(buffers.held, held);
    }
    for (unsigned i = 0; i < 6; i++)
        buffer_free(&buffers, all[i], sizes[i]);
    buffer_free(&buffers, NULL, 77);
    assert_int_equal(buffers.held, 0);
    buffers_fini(&buffers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_tells_its_home_until_it_dies),
        cmocka_unit_test(a_full_directory_says_so_and_a_slot_comes_back_with_another_generation),
        cmocka_unit_test(a_freed_slot_rests_while_others_are_free),
        cmocka_unit_test(a_reply_is_taken_once_and_not_for_the_next_call_of_its_slot),
        cmocka_unit_test(an_arena_gives_what_does_not_overlap_and_grows_to_what_was_needed),
        cmocka_unit_test(an_arena_does_not_keep_the_size_of_one_huge_message),
        cmocka_unit_test(buffers_are_aligned_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
