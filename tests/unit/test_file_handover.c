/* The file driver hands its file over: what it holds of it while the backends above are inactive.
 */
#include "node_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/clock.h"

static char path[40];

static int setup(void **state)
{
    (void)state;
    strcpy(path, "/var/tmp/sluice-file-XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    return fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static const char *with_path(void)
{
    static char options[sizeof path + 20];
    snprintf(options, sizeof options, "filename=%s", path);
    return options;
}

/* Another program's descriptor of it. */
static int image(off_t bytes)
{
    int fd = open(path, O_RDWR | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, bytes), 0);
    return fd;
}

static int lock_byte(int fd, int type, off_t byte)
{
    struct flock range = {.l_type = (short)type, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &range);
}

static bool is_free(int fd, off_t byte)
{
    struct flock range = {.l_type = F_WRLCK, .l_start = byte, .l_len = 1};
    assert_int_equal(fcntl(fd, F_OFD_GETLK, &range), 0);
    return range.l_type == F_UNLCK;
}

/* What the graph sends a node when the backends above it turn. */
static void permit(struct rig_answer *answer, actor_addr node, Sluice__NodePermit__Step step,
                   bool inactive)
{
    Sluice__NodePermit *mail = MAIL_NEW(sluice__node_permit);
    mail->step = step;
    mail->permissions = MAIL_NEW(sluice__permissions);
    mail->has_inactive = true;
    mail->inactive = inactive;
    *answer = (struct rig_answer){0};
    rig_post(answer, node, MAIL_NODE_PERMIT, mail);
    rig_run();
}
#define PREPARE SLUICE__NODE_PERMIT__STEP__PREPARE
#define COMMIT  SLUICE__NODE_PERMIT__STEP__COMMIT
#define ABORT   SLUICE__NODE_PERMIT__STEP__ABORT

static void
an_inactive_one_holds_no_lock_and_takes_it_and_the_length_when_it_is_active(void **state)
{
    (void)state;
    struct rig_answer answer;
    char data[16] = "";
    int fd = image(1000);
    actor_addr node = rig_open("f", "file", 0, with_path());
    permit(&answer, node, COMMIT, true);
    assert_true(answer.came);
    assert_true(is_free(fd, 0) && is_free(fd, 101) && is_free(fd, 201));
    assert_int_equal(rig_io(node, OP_WRITE, 0, data, 10, 0), -EPERM);
    assert_int_equal(rig_io(node, OP_READ, 0, data, 10, 0), 0);

    lock_byte(fd, F_WRLCK, 0); /* the other one has it, and makes it longer */
    permit(&answer, node, PREPARE, false);
    assert_false(answer.came);
    rig_advance(200 * NS_PER_MS);
    rig_until(&answer.came);
    assert_int_equal(answer.kind, MAIL_FAULT);
    assert_true(is_free(fd, 101) && is_free(fd, 201)); /* nothing is left of the attempt */
    assert_int_equal(ftruncate(fd, 5000), 0);
    lock_byte(fd, F_UNLCK, 0);

    rig_watch(node, true);
    permit(&answer, node, PREPARE, false);
    rig_until(&answer.came);
    assert_int_equal(answer.kind, MAIL_NONE);
    assert_int_equal(rig.change.length, 5000);
    assert_false(is_free(fd, 0) || is_free(fd, 101) || is_free(fd, 201));
    permit(&answer, node, ABORT, false); /* another node has refused */
    assert_true(is_free(fd, 0) && is_free(fd, 101) && is_free(fd, 201));
    assert_int_equal(rig_io(node, OP_WRITE, 0, data, 10, 0), -EPERM);

    permit(&answer, node, PREPARE, false);
    rig_until(&answer.came);
    permit(&answer, node, COMMIT, false);
    assert_false(is_free(fd, 0) || is_free(fd, 101) || is_free(fd, 201));
    assert_int_equal(rig_io(node, OP_WRITE, 4990, data, 10, 0), 0);
    rig_watch(node, false);
    rig_close(node);
    close(fd);
}

static void one_that_is_opened_inactive_is_opened_though_another_has_it(void **state)
{
    (void)state;
    struct rig_answer answer = {0};
    close(image(1000));
    actor_addr owner = rig_open("f", "file", 0, with_path()), node = rig_spawn(&node_type, "g");
    Sluice__NodeOpen *open = rig_spec("g", "file", 0, with_path());
    open->has_inactive = open->inactive = true;
    rig_post(&answer, node, MAIL_NODE_OPEN, open);
    rig_until(&answer.came);
    assert_int_equal(answer.kind, MAIL_NODE_FACTS);
    permit(&answer, node, PREPARE, false);
    rig_advance(200 * NS_PER_MS);
    rig_until(&answer.came);
    assert_int_equal(answer.kind, MAIL_FAULT);
    rig_close(owner);
    permit(&answer, node, PREPARE, false);
    rig_until(&answer.came);
    assert_int_equal(answer.kind, MAIL_NONE);
    rig_close(node);
}

int main(void)
{
    int failed = 0;
    const struct CMUnitTest tests[] = {
        RIG_TEST(an_inactive_one_holds_no_lock_and_takes_it_and_the_length_when_it_is_active),
        RIG_TEST(one_that_is_opened_inactive_is_opened_though_another_has_it),
    };
    while (rig_next_seed(3))
        failed += cmocka_run_group_tests(tests, setup, teardown);
    return failed;
}
