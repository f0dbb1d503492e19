/* What can be asked about a backend's device: over the public interface with real threads, and over
 * control in a stepped engine. */
#include "api_rig.h"
#include "stack_rig.h"

#include "actors/facts.h"

static const char device[] =
    "driver=mock size=1049088 logical-block=512 physical-block=4096 cylinders=2 heads=16 "
    "sectors=63 sg=on alignment=4096 max-transfer=100000 max-vector=7 optimal-transfer=65536";

static void the_device_is_as_its_driver_tells(void **state)
{
    (void)state;
    struct blk_blocksizes sizes = {0};
    struct blk_geometry geometry = {0};
    uint64_t sectors = 1;
    struct rig rig = rig_open(0, device);
    assert_true(blk_is_inserted(rig.blk) && blk_is_available(rig.blk));
    assert_int_equal(blk_getlength(rig.blk), 1 << 20); /* in whole blocks of the alignment */
    assert_int_equal(blk_nb_sectors(rig.blk), 2048);
    blk_get_geometry(rig.blk, &sectors);
    assert_int_equal(sectors, 2048);
    assert_int_equal(blk_probe_blocksizes(rig.blk, &sizes), 0);
    assert_int_equal(sizes.logical, 512);
    assert_int_equal(sizes.physical, 4096);
    assert_int_equal(blk_probe_geometry(rig.blk, &geometry), 0);
    assert_int_equal(geometry.cylinders, 2);
    assert_int_equal(geometry.heads, 16);
    assert_int_equal(geometry.sectors, 63);
    assert_true(blk_is_sg(rig.blk));
    assert_int_equal(blk_get_flags(rig.blk), BLK_WRITABLE | BLK_UNMAP);
    assert_int_equal(blk_get_request_alignment(rig.blk), 4096);
    assert_int_equal(blk_get_max_transfer(rig.blk), 98304);
    assert_int_equal(blk_get_optimal_transfer(rig.blk), 65536);
    assert_int_equal(blk_get_max_iov(rig.blk), 7);
    char *reply, *error;
    worked(sluice_request(rig.context, "backend-show disk", &reply, &error), &error);
    assert_non_null(strstr(reply, "\"sg\": true"));
    assert_non_null(strstr(reply, "\"alignment\": 4096"));
    free(reply);
    rig_close(&rig);
}

static void what_a_driver_does_not_know_is_not_made_up(void **state)
{
    (void)state;
    struct blk_blocksizes sizes = {1, 2};
    struct blk_geometry geometry = {1, 2, 3};
    struct rig rig = rig_open(0, "driver=mock size=1000 logical-block=512 heads=4");
    assert_int_equal(blk_nb_sectors(rig.blk), 1);
    assert_int_equal(blk_probe_blocksizes(rig.blk, &sizes), -ENOTSUP);
    assert_int_equal(blk_probe_geometry(rig.blk, &geometry), -ENOTSUP);
    assert_int_equal(sizes.physical, 2);
    assert_int_equal(geometry.sectors, 3);
    assert_false(blk_is_sg(rig.blk));
    assert_int_equal(blk_get_max_transfer(rig.blk), INT32_MAX);
    assert_int_equal(blk_get_optimal_transfer(rig.blk), 0);
    assert_int_equal(blk_get_max_iov(rig.blk), 1024);
    rig_close(&rig);
}

/* Whatever a driver says. */
static void a_transfer_is_at_most_2_gib_less_what_alignment_takes(void **state)
{
    (void)state;
    static const struct {
        uint64_t told;
        uint32_t alignment, answered;
    } cases[] = {
        {0, 0, INT32_MAX - 511},
        {0, 1, INT32_MAX},
        {INT32_MAX, 1, INT32_MAX},
        {UINT64_C(1) << 31, 1, INT32_MAX},
        {UINT64_C(1) << 40, 4096, INT32_MAX - 4095},
        {UINT64_MAX, 1, INT32_MAX},
        {100, 4096, 4096},
        {UINT64_C(1) << 32, 512, INT32_MAX - 511},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver_facts facts = {.alignment = cases[i].alignment,
                                     .max_transfer = cases[i].told};
        assert_int_equal(facts_max_transfer(&facts), cases[i].answered);
    }
}

static void a_length_that_cant_be_told_is_its_own_error(void **state)
{
    (void)state;
    uint64_t sectors = 1;
    struct rig rig = rig_open(0, "driver=mock length-error=5");
    assert_int_equal(blk_getlength(rig.blk), -EIO);
    assert_int_equal(blk_nb_sectors(rig.blk), -EIO);
    blk_get_geometry(rig.blk, &sectors);
    assert_int_equal(sectors, 0);
    rig_close(&rig);
}

static void answers_as_without_a_medium(blk *blk)
{
    struct blk_blocksizes sizes;
    struct blk_geometry geometry;
    uint64_t sectors = 1;
    assert_false(blk_is_inserted(blk) || blk_is_available(blk));
    assert_int_equal(blk_getlength(blk), -ENOMEDIUM);
    assert_int_equal(blk_nb_sectors(blk), -ENOMEDIUM);
    blk_get_geometry(blk, &sectors);
    assert_int_equal(sectors, 0);
    assert_int_equal(blk_probe_blocksizes(blk, &sizes), -ENOMEDIUM);
    assert_int_equal(blk_probe_geometry(blk, &geometry), -ENOMEDIUM);
}

/* The same before the first medium and after it. */
static void without_a_medium_limits_are_answered_all_the_same(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, device);
    request(rig.context, "backend-add name=drive");
    blk *drive = open_blk(rig.context, "drive", BLK_WRITABLE);
    for (unsigned i = 0; i < 2; i++) {
        answers_as_without_a_medium(drive);
        assert_int_equal(blk_get_request_alignment(drive), 512);
        assert_int_equal(blk_get_max_transfer(drive), INT32_MAX - 511);
        assert_int_equal(blk_get_optimal_transfer(drive), 0);
        assert_int_equal(blk_get_max_iov(drive), 1024);
        assert_false(blk_is_sg(drive));
        assert_false(blk_is_read_only(drive));
        assert_int_equal(blk_enable_write_cache(drive), 1);
        assert_int_equal(blk_get_guest_block_size(drive), 512);
        request(rig.context, "medium-insert backend=drive node=node");
        blk_flush(drive); /* so that the news have come */
        assert_int_equal(blk_get_max_iov(drive), 7);
        request(rig.context, "medium-remove drive");
        assert_int_equal(blk_flush(drive), -ENOMEDIUM);
    }
    blk_close(&drive);
    rig_close(&rig);
}

static void a_drive_that_says_it_is_empty_answers_as_one_without_a_medium(void **state)
{
    (void)state;
    char text[300];
    snprintf(text, sizeof text, "node-add name=drive empty=on %s", device);
    struct rig rig = rig_open(0, "driver=null");
    request(rig.context, text);
    request(rig.context, "backend-add name=drive-b node=drive");
    blk *drive = open_blk(rig.context, "drive-b", 0);
    answers_as_without_a_medium(drive);
    assert_int_equal(blk_get_flags(drive), BLK_WRITABLE | BLK_UNMAP); /* the medium's */
    blk_close(&drive);
    rig_close(&rig);
}

static void the_guests_block_size_is_512_until_set(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=null");
    static const uint32_t wrong[] = {0, 256, 511, 513, 4095, 4 << 20, UINT32_MAX};
    assert_int_equal(blk_get_guest_block_size(rig.blk), 512);
    assert_int_equal(blk_set_guest_block_size(rig.blk, 4096), 0);
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(blk_set_guest_block_size(rig.blk, wrong[i]), -EINVAL);
    assert_int_equal(blk_get_guest_block_size(rig.blk), 4096);
    assert_int_equal(blk_set_guest_block_size(rig.blk, 2 << 20), 0);
    assert_int_equal(blk_get_guest_block_size(rig.blk), 2 << 20);
    rig_close(&rig);
}

static void aligned_memory_suits_the_medium(void **state)
{
    (void)state;
    static const struct {
        const char *node;
        uintptr_t alignment;
    } media[] = {{"driver=null", 4096},
                 {"driver=mock alignment=512", 4096},
                 {"driver=mock alignment=65536", 65536}};
    for (unsigned i = 0; i < 3; i++) {
        struct rig rig = rig_open(0, media[i].node);
        void *one = blk_blockalign(rig.blk, 100000), *two = blk_try_blockalign(rig.blk, 0);
        assert_non_null(one);
        assert_non_null(two);
        assert_int_equal((uintptr_t)one & (media[i].alignment - 1), 0);
        assert_int_equal((uintptr_t)two & (media[i].alignment - 1), 0);
        memset(one, 1, 100000);
        free(one);
        free(two);
        rig_close(&rig);
    }
}

static void memory_that_there_is_not_is_null_when_tried(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* the sanitizer ends a program that asks for so much */
#else
    struct rig rig = rig_open(0, "driver=null");
    volatile size_t size = PTRDIFF_MAX;
    assert_null(blk_try_blockalign(rig.blk, size));
    rig_close(&rig);
#endif
}

static void control_tells_the_same(void **state)
{
    (void)state;
    stack_start(2, 1);
    stack_do("node-add name=n %s", device);
    stack_do("backend-add name=b node=n");
    const Sluice__BackendInfo *info = stack_do("backend-show b")->backend;
    assert_true(info->inserted && info->sg);
    assert_int_equal(info->alignment, 4096);
    assert_int_equal(info->max_transfer, 98304);
    assert_int_equal(info->max_vector, 7);
    assert_int_equal(info->optimal_transfer, 65536);
    assert_int_equal(info->logical_block, 512);
    assert_int_equal(info->physical_block, 4096);
    assert_int_equal(info->cylinders, 2);
    assert_int_equal(info->heads, 16);
    assert_int_equal(info->sectors, 63);
    assert_int_equal(info->guest_block_size, 512);

    stack_refused(-EINVAL, "a power of two from 512 to 2097152, which 1000 is not",
                  "backend-set b guest-block-size=1000");
    stack_do("backend-set b guest-block-size=4096");
    stack_do("medium-remove b");
    info = stack_do("backend-show b")->backend;
    assert_int_equal(info->guest_block_size, 4096);
    assert_false(info->inserted || info->sg);
    assert_int_equal(info->alignment, 512);
    assert_int_equal(info->max_transfer, INT32_MAX - 511);
    assert_int_equal(info->max_vector, 1024);
    assert_false(info->has_optimal_transfer || info->has_logical_block || info->has_cylinders);
    stack_stop();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(the_device_is_as_its_driver_tells),
        TEST(what_a_driver_does_not_know_is_not_made_up),
        TEST(a_transfer_is_at_most_2_gib_less_what_alignment_takes),
        TEST(a_length_that_cant_be_told_is_its_own_error),
        TEST(without_a_medium_limits_are_answered_all_the_same),
        TEST(a_drive_that_says_it_is_empty_answers_as_one_without_a_medium),
        TEST(the_guests_block_size_is_512_until_set),
        TEST(aligned_memory_suits_the_medium),
        TEST(memory_that_there_is_not_is_null_when_tried),
        TEST(control_tells_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
