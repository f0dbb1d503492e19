/* What ranges are, and making all of a device zeroes, as programs and control ask for it. With real
 * threads. */
#include "api_rig.h"

#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

/* What the node's mock was sent, without what it was merely asked: "zeroes 0+512, …". */
static const char *sent(const struct rig *rig)
{
    static char list[2000];
    char *reply, *error;
    worked(sluice_request(rig->context, "node-show node", &reply, &error), &error);
    size_t used = 0;
    list[0] = '\0';
    for (char *at = reply; (at = strstr(at, "\"sent-")); at++) {
        char what[64];
        assert_int_equal(sscanf(at, "\"sent-%*u\" : \"%63[^\"]", what), 1);
        if (strncmp(what, "status", 6) != 0)
            used +=
                (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", what);
    }
    free(reply);
    return list;
}

static void a_range_is_described_run_by_run(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=1M zero=64K+64K unallocated=128K+896K");
    int64_t run;
    assert_int_equal(blk_block_status(rig.blk, 0, MIB, &run),
                     BLK_STATUS_DATA | BLK_STATUS_ALLOCATED);
    assert_int_equal(run, 65536);
    assert_int_equal(blk_block_status(rig.blk, 65536 + 1, MIB / 2, &run),
                     BLK_STATUS_ZERO | BLK_STATUS_ALLOCATED);
    assert_int_equal(run, 65535);
    assert_int_equal(blk_block_status(rig.blk, 131072, 10, &run), BLK_STATUS_DATA);
    assert_int_equal(run, 10);
    assert_int_equal(blk_block_status(rig.blk, MIB, 0, &run), 0);
    assert_int_equal(run, 0);
    assert_int_equal(blk_block_status(rig.blk, MIB, 1, &run), -EIO);
    assert_int_equal(blk_block_status(rig.blk, -1, 1, &run), -EIO);
    assert_int_equal(blk_block_status(rig.blk, 0, -1, &run), -EIO);
    request(rig.context, "medium-remove disk");
    assert_int_equal(blk_block_status(rig.blk, 0, 1, &run), -ENOMEDIUM);
    rig_close(&rig);
}

static void a_reader_may_ask_what_a_range_is(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=1M");
    blk *reader = open_blk(rig.context, "disk", 0);
    int64_t run;
    assert_true(blk_block_status(reader, 0, MIB, &run) > 0);
    assert_int_equal(blk_make_zero(reader, 0), -EPERM);
    blk_close(&reader);
    rig_close(&rig);
}

static void what_reads_as_zeroes_is_left_alone(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=1M zero='0+64K, 128K+64K'");
    assert_int_equal(blk_make_zero(rig.blk, BLK_MAY_UNMAP | BLK_FUA), 0);
    assert_string_equal(sent(&rig), "zeroes 65536+65536 fua unmap, zeroes 196608+851968 fua unmap");
    rig_close(&rig);
    rig = rig_open(0, "driver=mock size=1M zero=0+1M");
    assert_int_equal(blk_make_zero(rig.blk, 0), 0);
    assert_string_equal(sent(&rig), "");
    rig_close(&rig);
}

static void what_is_not_known_is_zeroed_and_longer_than_one_request(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=5G can=zeroes zero=0+5G");
    assert_int_equal(blk_make_zero(rig.blk, 0), 0);
    assert_string_equal(sent(&rig), "zeroes 0+1073741824, zeroes 1073741824+1073741824, "
                                    "zeroes 2147483648+1073741824, zeroes 3221225472+1073741824, "
                                    "zeroes 4294967296+1073741824");
    rig_close(&rig);
}

static void making_zero_ends_with_the_first_error(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=1M");
    assert_int_equal(blk_make_zero(rig.blk, BLK_COMPRESSED), -EINVAL);
    request(rig.context, "node-set node can=flush");
    assert_int_equal(blk_make_zero(rig.blk, BLK_NO_FALLBACK), -ENOTSUP);
    request(rig.context, "node-set node error=28");
    assert_int_equal(blk_make_zero(rig.blk, 0), -ENOSPC);
    request(rig.context, "node-set node can=status error=5");
    assert_int_equal(blk_make_zero(rig.blk, 0), -EIO);
    request(rig.context, "medium-remove disk");
    assert_int_equal(blk_make_zero(rig.blk, 0), -ENOMEDIUM);
    rig_close(&rig);
}

static void an_empty_device_is_zero_already(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=0");
    assert_int_equal(blk_make_zero(rig.blk, 0), 0);
    rig_close(&rig);
}

static void data_in_memory_is_zero_afterwards(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=memory size=8G");
    char got[4] = "...";
    assert_int_equal(blk_pwrite(rig.blk, 3 * GIB - 2, 4, "data", 0), 4);
    assert_int_equal(blk_make_zero(rig.blk, BLK_MAY_UNMAP), 0);
    assert_int_equal(blk_pread(rig.blk, 3 * GIB - 2, 4, got, 0), 4);
    assert_memory_equal(got, "\0\0\0\0", 4);
    int64_t run;
    assert_int_equal(blk_block_status(rig.blk, 0, 8 * GIB, &run),
                     BLK_STATUS_ZERO | BLK_STATUS_ALLOCATED);
    assert_int_equal(run, 8 * GIB);
    rig_close(&rig);
}

/* --- Over control */

static void control_says_how_much_was_not_zero(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=5G zero='0+64K, 128K+64K, 2G+3G'");
    char *reply, *error;
    worked(sluice_request(rig.context, "io-make-zero disk unmap=true", &reply, &error), &error);
    assert_non_null(strstr(reply, "2147352576"));
    free(reply);
    assert_string_equal(sent(&rig), "zeroes 65536+65536 unmap, zeroes 196608+1073741824 unmap, "
                                    "zeroes 1073938432+1073545216 unmap");
    rig_close(&rig);
}

static void control_is_told_why_it_could_not_be_made_zero(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, "driver=mock size=1M error=5");
    char *error;
    refused(-EIO, "io-make-zero: backend \"disk\" failed at byte 0",
            sluice_request(rig.context, "io-make-zero disk", NULL, &error), &error);
    request(rig.context, "node-set node length-error=110");
    refused(-ETIMEDOUT, "has no length",
            sluice_request(rig.context, "io-make-zero disk", NULL, &error), &error);
    request(rig.context, "medium-remove disk");
    refused(-ENOMEDIUM, "has no length: No medium",
            sluice_request(rig.context, "io-make-zero disk", NULL, &error), &error);
    request(rig.context, "node-add name=ro driver=mock read-only=on");
    request(rig.context, "backend-add name=fixed node=ro read_only=true");
    refused(-EPERM, "read-only", sluice_request(rig.context, "io-make-zero fixed", NULL, &error),
            &error);
    rig_close(&rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(a_range_is_described_run_by_run),
        TEST(a_reader_may_ask_what_a_range_is),
        TEST(what_reads_as_zeroes_is_left_alone),
        TEST(what_is_not_known_is_zeroed_and_longer_than_one_request),
        TEST(making_zero_ends_with_the_first_error),
        TEST(an_empty_device_is_zero_already),
        TEST(data_in_memory_is_zero_afterwards),
        TEST(control_says_how_much_was_not_zero),
        TEST(control_is_told_why_it_could_not_be_made_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
