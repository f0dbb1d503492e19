/* The ring: requests end once, with room for any number of them; and the sentences for kernels and
 * containers that have no io_uring. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/clock.h"
#include "engine/ring.h"

static struct ring *ring;

struct call {
    struct ring_req req;
    unsigned times;
    int res;
    void (*then)(struct call *call);
};

static void on_done(struct ring_req *req, int res)
{
    struct call *call = (struct call *)req;
    call->times++;
    call->res = res;
    if (call->then)
        call->then(call);
}

static struct call begin(void)
{
    return (struct call){.req.done = on_done};
}

static void reap_all(void)
{
    while (ring_pending(ring))
        ring_wait(ring, NS_PER_S);
}

static int setup(void **state)
{
    (void)state;
    struct err err = {0};
    ring = ring_new(&err);
    if (!ring)
        fail_msg("%s", err.text);
    return ring_enable(ring);
}

static int teardown(void **state)
{
    (void)state;
    ring_free(&ring);
    return 0;
}

static int temporary(void)
{
    char name[] = "/tmp/sluice-ring-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    return fd;
}

/* --- Calls */

static void files_are_opened_written_read_and_measured(void **state)
{
    (void)state;
    char path[] = "/tmp/sluice-ring-XXXXXX";
    close(mkstemp(path));
    struct call open = begin();
    ring_openat(ring, &open.req, path, O_RDWR, 0);
    assert_int_equal(open.times, 0); /* never inside the call */
    reap_all();
    unlink(path);
    assert_int_equal(open.times, 1);
    assert_true(open.res >= 0);
    struct ring_file file;
    ring_file_register(ring, &file, open.res);
    assert_true(file.slot >= 0);

    char out[] = "abcdef", in[7] = "";
    struct iovec halves[] = {{out, 4}, {out + 4, 2}}, whole = {in, 6};
    struct call write = begin(), sync = begin(), grow = begin(), read = begin(), stat = begin();
    ring_writev(ring, &write.req, &file, halves, 2, 100, 0);
    reap_all();
    assert_int_equal(write.res, 6);
    struct statx facts;
    ring_fdatasync(ring, &sync.req, &file);
    ring_readv(ring, &read.req, &file, &whole, 1, 100);
    ring_fallocate(ring, &grow.req, &file, 0, 0, 8192);
    reap_all();
    ring_statx(ring, &stat.req, file.fd, &facts);
    assert_int_equal(ring_working(ring), 1);
    reap_all();
    assert_int_equal(sync.res, 0);
    assert_int_equal(grow.res, 0);
    assert_int_equal(read.res, 6);
    assert_string_equal(in, "abcdef");
    assert_int_equal(stat.res, 0);
    assert_int_equal(facts.stx_size, 8192);
    ring_file_unregister(ring, &file);
    assert_int_equal(file.slot, -1);
    close(open.res);

    struct call missing = begin();
    ring_openat(ring, &missing.req, "/tmp/sluice/no/such/file", O_RDONLY, 0);
    reap_all();
    assert_int_equal(missing.res, -ENOENT);
}

/* --- Registered memory */

#define PAGE 4096

/* Reads the file's first bytes to there while the process itself may not touch any of it: what that
 * ends with. */
static int read_blindly(int fd, char *memory, size_t size, char *to, size_t bytes)
{
    struct ring_file file;
    struct iovec iov = {to, bytes};
    struct call read = begin();
    ring_file_register(ring, &file, fd);
    assert_int_equal(mprotect(memory, size, PROT_NONE), 0);
    ring_readv(ring, &read.req, &file, &iov, 1, 0);
    reap_all();
    assert_int_equal(mprotect(memory, size, PROT_READ | PROT_WRITE), 0);
    ring_file_unregister(ring, &file);
    return read.res;
}

static void registered_memory_is_used_without_being_looked_up(void **state)
{
    (void)state;
    enum { PLACES = 64 };
    size_t size = (PLACES + 1) * PAGE;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *last = memory + PLACES * PAGE;
    int fd = temporary();
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
    memset(memory, 'x', size);
    if (ring_buffer_register(ring, memory, PAGE) == -ENOMEM)
        skip();
    for (unsigned i = 1; i < PLACES; i++)
        assert_int_equal(ring_buffer_register(ring, memory + i * PAGE, PAGE), 0);
    assert_int_equal(ring_buffer_register(ring, last, PAGE), -ENOSPC);
    assert_int_equal(ring_buffer_register(ring, memory, PAGE), 0); /* once more */
    assert_int_equal(ring_buffer_register(ring, NULL, PAGE), -EINVAL);
    assert_int_equal(ring_buffer_register(ring, memory, 0), -EINVAL);

    assert_int_equal(read_blindly(fd, memory, size, memory, PAGE), PAGE);
    assert_int_equal(read_blindly(fd, memory, size, last - 10, 10), 10);
    assert_int_equal(read_blindly(fd, memory, size, last - 10, 11),
                     -EFAULT); /* reaches out of it */
    assert_int_equal(read_blindly(fd, memory, size, last, 10), -EFAULT);
    assert_true(memory[0] == 0 && memory[PAGE - 1] == 0 && memory[PAGE] == 'x' && last[-1] == 0);

    ring_buffer_unregister(ring, memory, PAGE);
    assert_int_equal(read_blindly(fd, memory, size, memory, PAGE), PAGE);
    ring_buffer_unregister(ring, memory, PAGE);
    ring_buffer_unregister(ring, memory, PAGE); /* not any more: nothing happens */
    assert_int_equal(read_blindly(fd, memory, size, memory, PAGE), -EFAULT);
    assert_int_equal(ring_buffer_register(ring, last, PAGE), 0); /* in its place */
    assert_int_equal(read_blindly(fd, memory, size, last, PAGE), PAGE);
    close(fd);
    munmap(memory, size);
}

/* --- Cancelling */

static void a_cancelled_recv_ends_once_and_takes_nothing_after(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    struct ring_file file;
    ring_file_register(ring, &file, ends[0]);
    char buffer[8] = "";
    struct call recv = begin();
    ring_recv(ring, &recv.req, &file, buffer, sizeof buffer, 0);
    ring_turn(ring);
    assert_int_equal(recv.times, 0);
    assert_int_equal(ring_pending(ring), 1);
    assert_int_equal(ring_working(ring), 0);
    ring_cancel(ring, &recv.req);
    reap_all();
    assert_int_equal(recv.times, 1);
    assert_int_equal(recv.res, -ECANCELED);
    assert_int_equal(write(ends[1], "x", 1), 1);
    ring_turn(ring);
    assert_int_equal(buffer[0], 0);
    assert_int_equal(recv.times, 1);
    ring_file_unregister(ring, &file);
    close(ends[0]);
    close(ends[1]);
}

static void what_completed_before_it_was_cancelled_keeps_its_result(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    struct ring_file file = {ends[0], -1};
    char buffer[8] = "";
    assert_int_equal(write(ends[1], "data", 4), 4);
    struct call recv = begin();
    ring_recv(ring, &recv.req, &file, buffer, sizeof buffer, 0);
    ring_cancel(ring, &recv.req);
    ring_cancel(ring, &recv.req);
    reap_all();
    assert_int_equal(recv.times, 1);
    assert_int_equal(recv.res, 4);
    assert_string_equal(buffer, "data");
    ring_cancel(ring, &recv.req); /* long over */
    ring_turn(ring);
    ring_turn(ring);
    assert_int_equal(recv.times, 1);
    assert_int_equal(ring_pending(ring), 0);
    close(ends[0]);
    close(ends[1]);
}

/* --- Multishot */

static int accepted[8], naccepted;

static void keep_accepted(struct call *call)
{
    if (call->res >= 0)
        accepted[naccepted++] = call->res;
}

static void accept_gives_a_descriptor_for_each_client_until_it_is_cancelled(void **state)
{
    (void)state;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    naccepted = 0;
    struct call accept = begin();
    accept.then = keep_accepted;
    for (unsigned round = 0; round < 2; round++) {
        ring_accept(ring, &accept.req, listener);
        for (int i = 0; i < 3; i++) {
            int client = socket(AF_INET, SOCK_STREAM, 0);
            assert_int_equal(connect(client, (struct sockaddr *)&address, size), 0);
            while (naccepted <= i)
                ring_wait(ring, NS_PER_S);
            assert_true(accept.req.more);
            assert_true(fcntl(accepted[i], F_GETFD) & FD_CLOEXEC);
            close(client);
        }
        assert_int_equal(ring_pending(ring), 1);
        ring_cancel(ring, &accept.req);
        reap_all();
        assert_false(accept.req.more);
        assert_int_equal(accept.res, -ECANCELED);
        assert_int_equal(naccepted, 3); /* and then it is armed again */
        while (naccepted)
            close(accepted[--naccepted]);
    }
    close(listener);
}

static void a_poll_tells_each_time_and_a_poll_once_tells_once(void **state)
{
    (void)state;
    int fd = eventfd(0, EFD_NONBLOCK);
    uint64_t value = 1;
    struct call poll = begin(), once = begin();
    ring_poll(ring, &poll.req, fd, POLLIN);
    ring_poll_once(ring, &once.req, fd);
    ring_turn(ring);
    assert_int_equal(poll.times + once.times, 0);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(write(fd, &value, sizeof value), sizeof value);
        while (poll.times < i)
            ring_wait(ring, NS_PER_S);
        assert_true(poll.req.more);
        assert_int_equal(read(fd, &value, sizeof value), sizeof value);
        value = 1;
    }
    assert_int_equal(once.times, 1);
    ring_cancel(ring, &poll.req);
    reap_all();
    close(fd);
}

/* --- Room */

enum { CROWD = 10000 }; /* the queues hold 512 and 2048 */

static struct ring_file crowd_file;
static char crowd_byte;
static const struct iovec crowd_vector = {&crowd_byte, 1};

static void once_more(struct call *call)
{
    assert_int_equal(call->res, 1);
    if (call->times == 1)
        ring_readv(ring, &call->req, &crowd_file, &crowd_vector, 1, 0);
}

static void more_requests_than_either_queue_holds_all_end_also_when_each_makes_another(void **state)
{
    (void)state;
    int fd = temporary();
    assert_int_equal(write(fd, "x", 1), 1);
    ring_file_register(ring, &crowd_file, fd);
    struct call *calls = calloc(CROWD, sizeof *calls);
    for (unsigned i = 0; i < CROWD; i++) {
        calls[i] = begin();
        calls[i].then = once_more;
        ring_readv(ring, &calls[i].req, &crowd_file, &crowd_vector, 1, 0);
    }
    assert_int_equal(ring_pending(ring), CROWD);
    reap_all();
    for (unsigned i = 0; i < CROWD; i++)
        assert_int_equal(calls[i].times, 2);
    free(calls);
    ring_file_unregister(ring, &crowd_file);
    close(fd);
}

static void polls_beyond_the_completion_queue_that_fire_at_once_all_end(void **state)
{
    (void)state;
    int fd = eventfd(0, EFD_NONBLOCK);
    struct call *calls = calloc(CROWD, sizeof *calls);
    for (unsigned i = 0; i < CROWD; i++) {
        calls[i] = begin();
        ring_poll_once(ring, &calls[i].req, fd);
    }
    ring_turn(ring);
    assert_int_equal(ring_pending(ring), CROWD);
    uint64_t value = 1;
    assert_int_equal(write(fd, &value, sizeof value), sizeof value);
    reap_all();
    for (unsigned i = 0; i < CROWD; i++) {
        assert_int_equal(calls[i].times, 1);
        assert_true(calls[i].res & POLLIN);
    }
    free(calls);
    close(fd);
}

static void a_turn_without_waiting_reaps_what_has_overflowed(void **state)
{
    (void)state;
    int fd = eventfd(1, EFD_NONBLOCK);
    struct call *calls = calloc(CROWD, sizeof *calls);
    for (unsigned i = 0; i < CROWD; i++) {
        calls[i] = begin();
        ring_poll_once(ring, &calls[i].req, fd);
    }
    for (unsigned turn = 0; turn < CROWD && ring_pending(ring); turn++)
        ring_turn(ring);
    assert_int_equal(ring_pending(ring), 0);
    free(calls);
    close(fd);
}

static void files_beyond_the_table_work_as_they_are(void **state)
{
    (void)state;
    enum { TABLE = 4096 };
    int fd = temporary();
    assert_int_equal(write(fd, "x", 1), 1);
    struct ring_file *files = calloc(TABLE + 10, sizeof *files);
    for (unsigned i = 0; i < TABLE + 10; i++) {
        ring_file_register(ring, &files[i], fd);
        assert_int_equal(files[i].slot >= 0, i < TABLE);
    }
    char byte = 0;
    struct iovec vector = {&byte, 1};
    struct call read = begin();
    ring_readv(ring, &read.req, &files[TABLE + 9], &vector, 1, 0);
    reap_all();
    assert_int_equal(read.res, 1);
    assert_int_equal(byte, 'x');
    ring_file_unregister(ring, &files[TABLE + 9]);
    ring_file_unregister(ring, &files[7]);
    ring_file_register(ring, &files[TABLE], fd); /* there is room again */
    assert_true(files[TABLE].slot >= 0);
    for (unsigned i = 0; i < TABLE + 10; i++)
        ring_file_unregister(ring, &files[i]);
    free(files);
    close(fd);
}

static void waiting_ends_when_its_time_is_up(void **state)
{
    (void)state;
    int fd = eventfd(0, EFD_NONBLOCK);
    struct call poll = begin();
    ring_poll_once(ring, &poll.req, fd);
    assert_int_equal(ring_wait(ring, NS_PER_MS), 0);
    assert_int_equal(ring_wait(ring, 0), 0);
    assert_int_equal(poll.times, 0);
    ring_cancel(ring, &poll.req);
    reap_all();
    close(fd);
}

/* --- Where io_uring is forbidden: a filter makes io_uring_setup fail, in a process of its own. */

static void forbid(int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(2);
}

/* What ring_new() says in a child whose io_uring_setup fails with `error`. */
static void told(int error, struct err *err)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        forbid(error);
        struct err said = {0};
        if (ring_new(&said))
            _exit(3);
        _exit(write(ends[1], &said, sizeof said) == sizeof said ? 0 : 4);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], err, sizeof *err), sizeof *err);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_forbidden_ring_says_what_to_allow(void **state)
{
    (void)state;
    struct err err;
    told(EPERM, &err);
    assert_int_equal(err.code, -EPERM);
    assert_non_null(strstr(err.text, "forbidden"));
    assert_non_null(strstr(err.text, "kernel.io_uring_disabled=0"));
    assert_non_null(strstr(err.text, "seccomp"));
    told(ENOSYS, &err);
    assert_int_equal(err.code, -ENOSYS);
    assert_non_null(strstr(err.text, "Linux 6.1"));
    told(EINVAL, &err);
    assert_int_equal(err.code, -EINVAL);
    assert_non_null(strstr(err.text, "too old"));
    told(ENOMEM, &err);
    assert_int_equal(err.code, -ENOMEM);
    assert_non_null(strstr(err.text, "ulimit -l"));
    told(EMFILE, &err);
    assert_int_equal(err.code, -EMFILE);
    assert_non_null(strstr(err.text, strerror(EMFILE)));
}

#define RING_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RING_TEST(files_are_opened_written_read_and_measured),
        RING_TEST(registered_memory_is_used_without_being_looked_up),
        RING_TEST(a_cancelled_recv_ends_once_and_takes_nothing_after),
        RING_TEST(what_completed_before_it_was_cancelled_keeps_its_result),
        RING_TEST(accept_gives_a_descriptor_for_each_client_until_it_is_cancelled),
        RING_TEST(a_poll_tells_each_time_and_a_poll_once_tells_once),
        RING_TEST(more_requests_than_either_queue_holds_all_end_also_when_each_makes_another),
        RING_TEST(polls_beyond_the_completion_queue_that_fire_at_once_all_end),
        RING_TEST(a_turn_without_waiting_reaps_what_has_overflowed),
        RING_TEST(files_beyond_the_table_work_as_they_are),
        RING_TEST(waiting_ends_when_its_time_is_up),
        cmocka_unit_test(a_forbidden_ring_says_what_to_allow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
