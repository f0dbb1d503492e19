/* What control asks of a backend as a frontend: ioctls, the state of virtual machines, compressed
 * writes. In a whole stepped engine; see test_control_io.c for ranges and pieces. */
#include "stack_rig.h"

#include <stdio.h>

#include "drivers/driver.h"

/* A backend `b` on a mock, `m`. */
static void mocked(const char *options)
{
    stack_do("node-add driver=mock name=m size=8M %s", options);
    stack_do("backend-add name=b node=m");
}

/* What the mock was sent: "ioctl 7+0, flush 0+0". */
static const char *sent(void)
{
    static char list[2000];
    const Sluice__NodeInfo *info = stack_do("node-show m")->node;
    size_t used = 0;
    list[0] = '\0';
    for (size_t i = 0; i < info->n_state; i++)
        if (strncmp(info->state[i]->key, "sent-", 5) == 0)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "",
                                     info->state[i]->value);
    return list;
}

static void assert_data(const Sluice__Reply *reply, const char *data, size_t bytes)
{
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_IO);
    assert_int_equal(reply->io->bytes, bytes);
    assert_true(reply->io->has_data);
    assert_int_equal(reply->io->data.len, bytes);
    assert_memory_equal(reply->io->data.data, data, bytes);
}

/* Refused with EINVAL because of a field. */
static void refused_field(const char *field, const char *text, const char *request)
{
    struct stack_answer answer;
    stack_send(&answer, "%s", request);
    stack_await(&answer);
    assert_int_equal(answer.code, -EINVAL);
    assert_string_equal(answer.field, field);
    if (!strstr(answer.text, text))
        fail_msg("%s: %s", request, answer.text);
}

/* --- Ranges */

static void each_request_reaches_the_driver_as_what_it_is(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        mocked("");
        stack_do("io-read b offset=1K bytes=512");
        stack_do("io-write b offset=2K data=data");
        stack_do("io-write b offset=3K bytes=1K pattern=7 fua=on");
        stack_do("io-zeroes b offset=4K bytes=1M");
        stack_do("io-zeroes b offset=5K bytes=1K unmap=on");
        stack_do("io-discard b offset=6K bytes=2M");
        stack_do("io-flush b");
        stack_do("io-truncate b size=4M");
        assert_string_equal(sent(), "read 1024+512, write 2048+4, write 3072+1024 fua, "
                                    "zeroes 4096+1048576, zeroes 5120+1024 unmap, "
                                    "discard 6144+2097152, flush 0+0, truncate 4194304+0");
    }
}

/* Once each, whoever refused it, and though the session is over by then. */
static void a_range_that_is_refused_is_counted_as_invalid(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        mocked("");
        refused_field("offset", "reach beyond its end", "io-read b offset=8M bytes=1");
        refused_field("offset", "reach beyond its end", "io-write b offset=7M bytes=2M pattern=7");
        refused_field("offset", "reach beyond its end", "io-discard b offset=9M bytes=0");
        refused_field("offset", "reach beyond its end", "io-zeroes b offset=0 bytes=9M");
        refused_field("offset", "must be 0 or more", "io-read b offset=-1 bytes=1");
        stack_do("backend-add name=empty");
        stack_refused(-ENOMEDIUM, "has no length", "io-make-zero empty");
        const Sluice__BackendInfo *info = stack_do("backend-show b")->backend;
        assert_int_equal(info->read->invalid, 2);
        assert_int_equal(info->write->invalid, 1);
        assert_int_equal(info->discard->invalid, 1);
        assert_int_equal(info->zeroes->invalid, 1);
        assert_int_equal(stack_do("backend-show empty")->backend->zeroes->invalid, 1);
        assert_string_equal(sent(), "");
        stack_do("io-read b offset=0 bytes=512");
        assert_int_equal(stack_do("backend-show b")->backend->read->invalid, 2);
    }
}

/* --- Ioctls */

static void an_ioctl_reaches_the_driver_and_its_argument_comes_back(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        mocked("ioctl-result=7");
        const Sluice__Reply *reply = stack_do("io-ioctl b 4660 data=argument");
        assert_data(reply, "argument", 8);
        assert_true(reply->io->has_result);
        assert_int_equal(reply->io->result, 7);
        assert_data(stack_do("io-ioctl b 4660 data=more bytes=8"), "more\0\0\0\0", 8);
        assert_data(stack_do("io-ioctl b 4294967295 bytes=4"), "\0\0\0\0", 4);
        stack_do("node-set m ioctl-data=AB");
        assert_data(stack_do("io-ioctl b 1 data=more"), "ABre", 4);
        assert_data(stack_do("io-ioctl b 1 data=m"), "A", 1);
        reply = stack_do("io-ioctl b 2");
        assert_int_equal(reply->io->result, 7);
        assert_int_equal(reply->io->bytes, 0);
        assert_false(reply->io->has_data);
        assert_string_equal(sent(), "ioctl 4660+8, ioctl 4660+8, ioctl 4294967295+4, ioctl 1+4, "
                                    "ioctl 1+1, ioctl 2+0");
    }
}

/* However long, it goes in one piece. */
static void an_argument_is_one_mebibyte_at_most(void **state)
{
    (void)state;
    stack_start(2, 1);
    mocked("max-transfer=64K");
    assert_int_equal(stack_do("io-ioctl b 1 bytes=1M")->io->data.len, 1 << 20);
    refused_field("bytes", "io-ioctl: 1048577 bytes are asked for; 1048576 are the most",
                  "io-ioctl b 1 bytes=1048577");
    refused_field("bytes", "io-ioctl: the argument has 4 bytes, but data has 5; leave bytes out",
                  "io-ioctl b 1 bytes=4 data=hello");
    assert_string_equal(sent(), "ioctl 1+1048576");
    stack_stop();
}

static void an_ioctl_that_fails_is_told_with_its_reason(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        mocked("error=25");
        stack_refused(-ENOTTY, "io-ioctl: backend \"b\" refused: the medium does not have it",
                      "io-ioctl b 1 data=x");
        stack_do("node-set m error=1");
        stack_refused(-EPERM, "or the driver refuses this code", "io-ioctl b 1");
        stack_do("node-set m error=0 can=vmstate,compress");
        stack_refused(-ENOTSUP,
                      "the medium's driver takes no ioctls; choose one that can \"ioctl\"",
                      "io-ioctl b 1");
        stack_do("medium-remove b");
        stack_refused(-ENOMEDIUM, "io-ioctl: backend \"b\" refused: No medium found; insert one",
                      "io-ioctl b 1");
        stack_refused(-ENOENT, "'nobody'", "io-ioctl nobody 1");
    }
}

/* --- VM state */

static void vm_state_is_saved_and_loaded(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        mocked("");
        stack_do("node-set m size=512"); /* it lies beside the content */
        assert_int_equal(stack_do("io-save-vmstate b data=machine")->io->bytes, 7);
        assert_int_equal(stack_do("io-save-vmstate b offset=60000 data=far")->io->bytes, 3);
        assert_data(stack_do("io-load-vmstate b bytes=8"), "machine", 8);
        assert_data(stack_do("io-load-vmstate b offset=60001 bytes=2"), "ar", 2);
        assert_data(stack_do("io-load-vmstate b offset=60000 bytes=0"), "", 0);
        assert_string_equal(sent(), "save-vmstate 0+7, save-vmstate 60000+3, load-vmstate 0+8, "
                                    "load-vmstate 60001+2, load-vmstate 60000+0");
        assert_false(stack_do("io-save-vmstate b data=x")->io->has_data);
    }
}

static void vm_state_that_is_saved_is_durable_with_the_cache_off(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        mocked("");
        stack_do("io-save-vmstate b data=x");
        stack_do("backend-set b write-cache=off");
        stack_do("io-save-vmstate b data=y");
        assert_string_equal(sent(), "save-vmstate 0+1, save-vmstate 0+1, flush 0+0");
    }
}

static void vm_state_that_cannot_be_is_refused(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        mocked("");
        refused_field("data", "io-save-vmstate: data is what to save; give it",
                      "io-save-vmstate b");
        refused_field("bytes", "io-load-vmstate: 1048577 bytes are asked for; 1048576 are the most",
                      "io-load-vmstate b bytes=1048577");
        refused_field("offset", "io-load-vmstate: offset is -1, but must be 0 or more",
                      "io-load-vmstate b bytes=1 offset=-1");
        refused_field("offset", "io-save-vmstate: offset is -5, but must be 0 or more",
                      "io-save-vmstate b data=x offset=-5");
        refused_field("offset", "reach beyond the last byte that there can be",
                      "io-save-vmstate b data=xy offset=9223372036854775806");
        refused_field("offset", "reach beyond the last byte that there can be",
                      "io-load-vmstate b bytes=1 offset=9223372036854775807");
        assert_string_equal(sent(), "");
        stack_refused(-ENOSPC, "io-save-vmstate: backend \"b\" failed at byte 65536: No space",
                      "io-save-vmstate b offset=65536 data=x");
        stack_do("node-set m can=ioctl,compress");
        stack_refused(-ENOTSUP, "keeps no state of virtual machines; choose one that can \"vmstate",
                      "io-save-vmstate b data=x");
        stack_refused(-ENOTSUP, "keeps no state of virtual machines; choose one that can \"vmstate",
                      "io-load-vmstate b bytes=1");
        stack_do("medium-remove b");
        stack_refused(-ENOMEDIUM,
                      "io-save-vmstate: backend \"b\" failed at byte 0: No medium found",
                      "io-save-vmstate b data=x");
        stack_refused(-ENOMEDIUM,
                      "io-load-vmstate: backend \"b\" failed at byte 0: No medium found",
                      "io-load-vmstate b bytes=1");
    }
}

/* The same, from frontends that don't look first. */
static void a_backend_refuses_vm_state_that_no_offset_can_tell(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        mocked("");
        actor_addr b = stack_find("b");
        assert_int_equal(stack_run(b, OP_SAVE_VMSTATE, INT64_MAX, 1, 0), -EIO);
        assert_int_equal(stack_run(b, OP_LOAD_VMSTATE, INT64_MAX - 511, 512, 0), -EIO);
        assert_string_equal(sent(), "");
        assert_int_equal(stack_run(b, OP_LOAD_VMSTATE, INT64_MAX - 512, 512, 0), -ENOSPC);
    }
}

/* --- Compressed writes */

static void compressed_writes_reach_drivers_that_compress(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        mocked("");
        assert_int_equal(stack_do("io-write b data=text compressed=on")->io->bytes, 4);
        assert_int_equal(
            stack_do("io-write b offset=1 bytes=1025K pattern=7 compressed=on fua=on")->io->bytes,
            1025 << 10);
        stack_do("io-write b data=text compressed=off");
        assert_string_equal(sent(), "write 0+4 compressed, write 1+1048576 fua compressed, "
                                    "write 1048577+1024 fua compressed, write 0+4");
        stack_do("node-set m can=vmstate,ioctl");
        stack_refused(-ENOTSUP,
                      "io-write: backend \"b\" failed at byte 0: the medium's driver does not "
                      "compress; leave compressed out",
                      "io-write b data=x compressed=on");
        stack_do("medium-remove b");
        stack_refused(-ENOMEDIUM, "No medium found; insert one", "io-write b data=x compressed=on");
    }
}

/* --- Memory */

static bool all_zero(const ProtobufCBinaryData *data)
{
    for (size_t i = 0; i < data->len; i++)
        if (data->data[i])
            return false;
    return true;
}

/* Whatever was in the memory before: here what another has written. Null leaves it to programs. */
static void what_was_not_read_is_zeroes_and_never_what_was_in_memory(void **state)
{
    (void)state;
    static const char *const reads[] = {"io-read b bytes=8K", "io-load-vmstate b bytes=8K",
                                        "io-read other bytes=8K"};
    FOR_EACH_SEED(seed)
    {
        mocked("");
        stack_do("backend-set b rerror=ignore werror=ignore");
        stack_do("node-add driver=null name=n");
        stack_do("backend-add name=other node=n");
        for (unsigned i = 0; i < 3; i++) {
            stack_do("node-set m error=0");
            stack_do("io-write other bytes=8K pattern=120");
            stack_do("node-set m error=5");
            const Sluice__Reply *reply = stack_do("%s", reads[i]);
            assert_int_equal(reply->io->data.len, 8 << 10);
            if (!all_zero(&reply->io->data))
                fail_msg("%s gave what was in memory", reads[i]);
        }
    }
}

/* --- Permissions */

static void what_may_change_the_medium_asks_for_the_permission_to_write(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        mocked("read-only=on");
        stack_refused(-EPERM, "read-only", "io-ioctl b 1");
        stack_refused(-EPERM, "read-only", "io-save-vmstate b data=x");
        stack_refused(-EPERM, "read-only", "io-write b data=x compressed=on");
        assert_string_equal(sent(), "");
        stack_do("io-load-vmstate b bytes=1");
        stack_do("node-set m read-only=off");
        struct stack_answer alone;
        stack_do("backend-add name=other node=m");
        stack_claim(&alone, "other", PERM_CONSISTENT_READ, PERM_CONSISTENT_READ);
        stack_await(&alone);
        stack_refused(-EPERM, "write", "io-ioctl b 1");
        stack_refused(-EPERM, "write", "io-save-vmstate b data=x");
        stack_do("io-load-vmstate b bytes=1");
        assert_string_equal(sent(), "load-vmstate 0+1, load-vmstate 0+1");
        stack_claim_end(((const Sluice__Claimed *)alone.body)->claim);
        stack_do("io-ioctl b 1");
    }
}

static void an_inactive_backend_refuses_them(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        mocked("");
        actor_addr b = stack_find("b");
        stack_do("backend-inactivate b");
        stack_refused(-EPERM,
                      "io-ioctl: backend \"b\" refused: Operation not permitted; it is "
                      "inactive (see backend-activate)",
                      "io-ioctl b 1");
        stack_refused(-EPERM, "it is inactive", "io-save-vmstate b data=x");
        stack_refused(-EPERM, "it is inactive", "io-load-vmstate b bytes=1");
        stack_refused(-EPERM, "it is inactive", "io-write b data=x compressed=on");
        assert_int_equal(stack_run(b, OP_IOCTL, 1, 0, 0), -EPERM);
        assert_string_equal(sent(), "flush 0+0, inactivate");
        stack_do("backend-activate b");
        stack_do("io-ioctl b 1");
        assert_int_equal(stack_run(b, OP_IOCTL, 2, 0, 0), 0);
        assert_string_equal(sent(), "flush 0+0, inactivate, activate, ioctl 1+0, ioctl 2+0");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_request_reaches_the_driver_as_what_it_is),
        cmocka_unit_test(a_range_that_is_refused_is_counted_as_invalid),
        cmocka_unit_test(an_ioctl_reaches_the_driver_and_its_argument_comes_back),
        cmocka_unit_test(an_argument_is_one_mebibyte_at_most),
        cmocka_unit_test(an_ioctl_that_fails_is_told_with_its_reason),
        cmocka_unit_test(vm_state_is_saved_and_loaded),
        cmocka_unit_test(vm_state_that_is_saved_is_durable_with_the_cache_off),
        cmocka_unit_test(vm_state_that_cannot_be_is_refused),
        cmocka_unit_test(a_backend_refuses_vm_state_that_no_offset_can_tell),
        cmocka_unit_test(compressed_writes_reach_drivers_that_compress),
        cmocka_unit_test(what_was_not_read_is_zeroes_and_never_what_was_in_memory),
        cmocka_unit_test(what_may_change_the_medium_asks_for_the_permission_to_write),
        cmocka_unit_test(an_inactive_backend_refuses_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
