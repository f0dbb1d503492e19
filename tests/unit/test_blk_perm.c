/* Permissions as embedding programs ask for them, over the public interface. */
#include "api_rig.h"

static const char memory[] = "driver=memory size=1M";

static void assert_has(const blk *blk, unsigned perm, unsigned shared)
{
    unsigned got = ~0u, shares = ~0u;
    blk_get_perm(blk, &got, &shares);
    assert_int_equal(got, perm);
    assert_int_equal(shares, shared);
}

static void a_blk_has_what_its_flags_say_and_shares_all(void **state)
{
    (void)state;
    static const struct {
        int flags;
        unsigned perm;
    } cases[] = {
        {0, BLK_PERM_CONSISTENT_READ},
        {BLK_WRITABLE, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE},
        {BLK_WRITABLE | BLK_RESIZE, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE},
        {BLK_RESIZE, BLK_PERM_CONSISTENT_READ | BLK_PERM_RESIZE},
        {BLK_NO_IO, 0},
        {BLK_NO_IO | BLK_WRITABLE, 0},
        {BLK_NO_IO | BLK_RESIZE, BLK_PERM_RESIZE},
    };
    struct rig rig = rig_open(0, memory);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char byte = 'x';
        blk *blk = open_blk(rig.context, "disk", cases[i].flags);
        assert_has(blk, cases[i].perm, BLK_PERM_ALL);
        /* Although another user of the backend has them all. */
        bool writes = cases[i].perm & BLK_PERM_WRITE, reads = cases[i].perm & 1;
        bool resizes = cases[i].perm & BLK_PERM_RESIZE;
        assert_int_equal(blk_pwrite(blk, 0, 1, &byte, 0), writes ? 1 : -EPERM);
        assert_int_equal(blk_pread(blk, 0, 1, &byte, 0), reads ? 1 : -EPERM);
        int ret = blk_truncate(blk, 1 << 20, BLK_PREALLOC_OFF);
        assert_true(resizes ? ret == 0 : ret == -EPERM || ret == -EACCES);
        blk_close(&blk);
    }
    rig_close(&rig);
}

static void a_write_that_makes_it_longer_needs_to_resize(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    const int64_t end = 1 << 20;
    blk *blk = open_blk(rig.context, "disk", BLK_WRITABLE);
    char bytes[8] = "1234567";
    blk_set_allow_write_beyond_eof(blk, true);
    /* Although another user of the backend may. */
    assert_true(blk_truncate(rig.blk, end, BLK_PREALLOC_OFF) == 0);
    assert_int_equal(blk_pwrite(blk, end - 4, 8, bytes, 0), -EPERM);
    assert_int_equal(blk_pwrite_zeroes(blk, end, 8, 0), -EPERM);
    assert_int_equal(blk_pwrite(blk, end - 8, 8, bytes, 0), 8);
    assert_int_equal(blk_pread(blk, end - 4, 8, bytes, 0), 8);
    assert_int_equal(blk_getlength(rig.blk), end);
    char *error;
    worked(blk_set_perm(blk, BLK_PERM_WRITE | BLK_PERM_RESIZE, BLK_PERM_ALL, &error), &error);
    assert_int_equal(blk_pwrite(blk, end - 4, 8, bytes, 0), 8);
    assert_int_equal(blk_getlength(blk), end + 4);
    /* Nor may anybody when no user of the backend does. */
    request(rig.context, "backend-add name=second node=node");
    struct blk *second = open_blk(rig.context, "second", BLK_WRITABLE);
    blk_set_allow_write_beyond_eof(second, true);
    assert_int_equal(blk_pwrite(second, end, 8, bytes, 0), -EPERM);
    blk_close(&second);
    blk_close(&blk);
    rig_close(&rig);
}

static void a_change_that_others_do_not_share_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    const unsigned reads = BLK_PERM_CONSISTENT_READ, writes = reads | BLK_PERM_WRITE;
    char byte = 'x', *error;
    request(rig.context, "backend-add name=second node=node");
    blk *second = open_blk(rig.context, "second", 0);
    worked(blk_set_perm(rig.blk, writes, reads, &error), &error);
    assert_has(rig.blk, writes, reads);
    refused(-EPERM, "does not share", blk_set_perm(second, writes, BLK_PERM_ALL, &error), &error);
    assert_has(second, reads, BLK_PERM_ALL);
    assert_int_equal(blk_pwrite(second, 0, 1, &byte, 0), -EPERM);
    /* What another has can't be forbidden. */
    refused(-EPERM, "backend 'disk'", blk_set_perm(second, reads, reads, &error), &error);
    assert_has(second, reads, BLK_PERM_ALL);
    refused(-EINVAL, "no permission", blk_set_perm(second, 1 << 20, reads, &error), &error);
    worked(blk_set_perm(rig.blk, reads, BLK_PERM_ALL, &error), &error);
    assert_int_equal(blk_pwrite(rig.blk, 0, 1, &byte, 0), -EPERM);
    worked(blk_set_perm(second, writes, BLK_PERM_ALL, &error), &error);
    assert_int_equal(blk_pwrite(second, 0, 1, &byte, 0), 1);
    assert_int_equal(blk_pread(rig.blk, 0, 1, &byte, 0), 1);
    rig_close(&rig);
}

static void without_a_medium_a_change_is_remembered(void **state)
{
    (void)state;
    struct rig rig = rig_open(0, memory);
    const unsigned writes = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE;
    char byte = 'x', *error;
    request(rig.context, "backend-add name=drive");
    blk *drive = open_blk(rig.context, "drive", 0);
    worked(blk_set_perm(drive, writes, BLK_PERM_CONSISTENT_READ, &error), &error);
    assert_has(drive, writes, BLK_PERM_CONSISTENT_READ);
    /* Asked for with the medium, which `disk` writes to. */
    refused(-EPERM, "does not share",
            sluice_request(rig.context, "medium-insert backend=drive node=node", NULL, &error),
            &error);
    blk_close(&rig.blk);
    request(rig.context, "medium-insert backend=drive node=node");
    assert_int_equal(blk_pwrite(drive, 0, 1, &byte, 0), 1);
    refused(-EPERM, "does not share", blk_open(rig.context, "disk", BLK_WRITABLE, &rig.blk, &error),
            &error);
    blk_close(&drive);
    rig.blk = open_blk(rig.context, "disk", BLK_WRITABLE);
    rig_close(&rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, bound_time)
    const struct CMUnitTest tests[] = {
        TEST(a_blk_has_what_its_flags_say_and_shares_all),
        TEST(a_write_that_makes_it_longer_needs_to_resize),
        TEST(a_change_that_others_do_not_share_is_refused_and_changes_nothing),
        TEST(without_a_medium_a_change_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
