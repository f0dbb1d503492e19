/* What waits for limits when somebody goes: clients of an export die or say goodbye, the export is
 * removed, the engine ends. Each seed is another order of what happens. */
#include "stack_rig.h"

#include <endian.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "actors/nbd_proto.h"

#define OPS 40

static struct stack_op ops[OPS];

static const Sluice__ThrottleInfo *group(void)
{
    return stack_do("throttle-show g")->throttle;
}

static unsigned came(int ret)
{
    unsigned count = 0;
    for (unsigned i = 0; i < OPS; i++) {
        count += ops[i].came;
        if (ops[i].came)
            assert_int_equal(ops[i].ret, ret);
    }
    return count;
}

static void submit(actor_addr to)
{
    for (unsigned i = 0; i < OPS; i++) {
        ops[i] = (struct stack_op){0};
        stack_submit(&ops[i], to, OP_READ, i * 4096, 512, 0, NULL);
    }
    stack_settle();
}

/* --- A client of an export, on a socket that does not wait */

static char path[80];

/* What is put off for some more requests happens, too. */
static void settle(void)
{
    for (int i = 0; i < 4; i++)
        stack_pass(20 * NS_PER_US);
}

static void give(int fd, const void *data, size_t bytes)
{
    assert_int_equal(send(fd, data, bytes, MSG_NOSIGNAL), bytes);
    settle();
}

static void take(int fd, void *data, size_t bytes)
{
    size_t got = 0;
    for (unsigned i = 0; got < bytes && i < 10; i++) {
        ssize_t ret = recv(fd, (char *)data + got, bytes - got, 0);
        got += ret > 0 ? (size_t)ret : 0;
        settle();
    }
    assert_int_equal(got, bytes);
}

static int client(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct nbd_wire_greeting greeting;
    struct nbd_wire_rep rep;
    char skipped[512];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    strcpy(address.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    settle();
    take(fd, &greeting, sizeof greeting);
    const uint32_t flags = htobe32(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES);
    give(fd, &flags, sizeof flags);
    const struct nbd_wire_option option = {htobe64(NBD_OPTION_MAGIC), htobe32(NBD_OPT_GO),
                                           htobe32(7)};
    give(fd, &option, sizeof option);
    give(fd, "\0\0\0\1e\0", 7); /* with its end */
    do {
        take(fd, &rep, sizeof rep);
        assert_true(be32toh(rep.length) <= sizeof skipped);
        take(fd, skipped, be32toh(rep.length));
    } while (be32toh(rep.type) == NBD_REP_INFO);
    assert_int_equal(be32toh(rep.type), NBD_REP_ACK);
    return fd;
}

static void request(int fd, uint16_t type, uint64_t offset, uint32_t bytes)
{
    const struct nbd_wire_request wire = {htobe32(NBD_REQUEST_MAGIC),
                                          0,
                                          htobe16(type),
                                          htobe64(offset),
                                          htobe64(offset),
                                          htobe32(bytes)};
    give(fd, &wire, sizeof wire);
}

#define ASKED 20

static void ask(int fd, unsigned first_block)
{
    for (unsigned i = 0; i < ASKED; i++)
        request(fd, NBD_CMD_READ, (first_block + i) * 4096, 512);
}

/* The replies that have come, all of them successes. */
static unsigned replies(int fd)
{
    struct {
        struct nbd_wire_reply head;
        char data[512];
    } __attribute__((packed)) reply;
    unsigned n = 0;
    for (; recv(fd, &reply, sizeof reply, 0) == (ssize_t)sizeof reply; n++)
        assert_int_equal(be32toh(reply.head.error), 0);
    return n;
}

static bool is_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0) == 0;
}

/* --- An export whose requests wait for the limit of a group, at the backend or somewhere below */

#define WAYS 5

static actor_addr b; /* another member of the group */

static void set_up(uint64_t way, const char *limits)
{
    snprintf(path, sizeof path, "/tmp/test_throttle_end.%d", (int)getpid());
    stack_do("throttle-add g %s", limits);
    stack_do("node-add driver=memory name=m size=1M");
    if (way)
        stack_do("node-add driver=throttle name=t child=m throttle-group=g");
    if (way == 2)
        stack_do("node-add driver=raw name=top child=t offset=512 size=512K");
    if (way > 2) {
        stack_do("node-add driver=memory name=space size=1M");
        stack_do("node-add driver=overlay name=%s child=space backing=t block=4K",
                 way == 3 ? "top" : "layer");
    }
    if (way == 4)
        stack_do("node-add driver=copy-on-read name=top child=layer");
    stack_do("backend-add name=e node=%s %s",
             way > 1 ? "top"
             : way   ? "t"
                     : "m",
             way ? "" : "throttle=g");
    stack_do("backend-add name=b driver=null size=1M throttle=g");
    stack_do("export-add type=nbd backend=e unix=%s writable=on", path);
    b = stack_find("b");
}

static unsigned connections(void)
{
    return stack_do("export-show e")->export->connections;
}

/* Another member's share, a second long, is what it is without the client. */
static void assert_undisturbed(void)
{
    unsigned before = came(0);
    assert_int_equal(group()->waiting, OPS - before);
    stack_pass(NS_PER_S);
    assert_in_range(came(0), before + 9, before + 11);
}

static void a_client_that_dies_takes_its_requests_along(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        set_up(seed % WAYS, "iops-total=10");
        int fd = client();
        ask(fd, 0);
        submit(b);
        assert_in_range(group()->waiting, ASKED + OPS - 4, ASKED + OPS - 2);
        close(fd);
        settle();
        stack_pass(250 * NS_PER_MS); /* it looks again */
        assert_int_equal(connections(), 0);
        assert_undisturbed();

        /* The next one begins with nothing to wait for but the limit. */
        fd = client();
        request(fd, NBD_CMD_READ, 0, 512);
        stack_pass(NS_PER_S);
        assert_int_equal(replies(fd), 1);
        close(fd);
        settle();
    }
}

/* It has asked for more than it is read from at once. */
static void one_that_is_not_read_from_is_noticed_when_it_dies(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        set_up(seed % WAYS, "iops-total=1");
        int fd = client();
        for (unsigned i = 0; i < 140; i++)
            request(fd, NBD_CMD_READ, i * 4096, 512);
        close(fd);
        settle();
        stack_pass(250 * NS_PER_MS);
        assert_int_equal(connections(), 0);
        assert_int_equal(group()->waiting, 0);
    }
}

/* It wants what it has asked for. */
static void a_client_that_says_goodbye_waits_for_the_limit(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        set_up(seed % WAYS, "iops-total=10");
        int fd = client();
        ask(fd, 0);
        request(fd, NBD_CMD_DISC, 0, 0);
        stack_pass(300 * NS_PER_MS);
        assert_int_equal(connections(), 1);
        assert_in_range(group()->waiting, 1, ASKED - 2);
        stack_pass(3 * NS_PER_S);
        assert_int_equal(replies(fd), ASKED);
        assert_true(is_closed(fd));
        assert_int_equal(connections(), 0);
        close(fd);
    }
}

static void a_removed_export_lets_go_what_waits(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer removed;
        set_up(seed % WAYS, "iops-total=10");
        int fd = client();
        ask(fd, 0);
        submit(b);
        uint64_t begun = engine_now(stack_engine());
        stack_send(&removed, "export-remove e");
        stack_await(&removed);
        assert_int_equal(removed.code, 0);
        assert_true(engine_now(stack_engine()) - begun < NS_PER_MS);
        assert_int_equal(replies(fd), ASKED);
        assert_true(is_closed(fd));
        close(fd);
        assert_true(came(0) < OPS);

        /* It is paid by its own turns, each second one. */
        unsigned before = came(0);
        stack_pass(NS_PER_S);
        assert_in_range(came(0), before + 4, before + 6);

        /* From now on limits hold again. */
        stack_do("export-add type=nbd backend=e unix=%s", path);
        fd = client();
        ask(fd, ASKED); /* what was copied up needs nothing below */
        assert_int_equal(replies(fd), 0);
        close(fd);
        settle();
    }
}

/* --- The end of the engine */

static struct stack_answer ended;

static void begin_end(uint64_t deadline)
{
    Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
    shutdown->deadline = deadline;
    stack_ask(&ended, stack_world()->graph, MAIL_SHUTDOWN, shutdown);
}

static void an_engine_that_ends_lets_go_what_waits(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        struct stack_answer done[5];
        set_up(seed % WAYS, "iops-total=1");
        int fd = client();
        ask(fd, 0);
        submit(b);
        for (unsigned i = 0; i < 5; i++)
            stack_send(&done[i], "io-write e offset=%uK data=x", 8 * i);
        settle();
        assert_true(came(0) < OPS);
        uint64_t begun = engine_now(stack_engine());
        begin_end(30 * NS_PER_S);
        settle();
        assert_int_equal(came(0), OPS);
        assert_int_equal(replies(fd), ASKED);
        assert_true(is_closed(fd));
        close(fd);
        for (unsigned i = 0; i < 5; i++) {
            assert_true(done[i].came);
            assert_int_equal(done[i].code, 0);
        }
        assert_false(ended.came); /* somebody has a backend open */
        stack_release("b");
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
        assert_true(engine_now(stack_engine()) - begun < NS_PER_S);
    }
}

/* What a medium keeps can't be helped. */
static void at_the_deadline_only_that_fails_which_the_medium_keeps(void **state)
{
    (void)state;
    FOR_EACH_SEED(seed)
    {
        stack_do("throttle-add g iops-total=1");
        stack_do("node-add driver=mock name=m size=1M");
        stack_do("node-add driver=throttle name=t child=m throttle-group=g");
        stack_do("backend-add name=e node=%s", seed & 1 ? "t" : "m throttle=g");
        stack_do("backend-add name=b driver=null size=1M throttle=g");
        struct stack_op kept[OPS];
        actor_addr e = stack_find("e");
        submit(stack_find("b"));
        stack_do("node-set m hold=on");
        for (unsigned i = 0; i < OPS; i++)
            stack_submit(&kept[i], e, OP_WRITE, i * 4096, 512, 0, NULL);
        stack_settle();
        begin_end(NS_PER_S);
        stack_pass(NS_PER_S - 1);
        assert_int_equal(came(0), OPS);
        for (unsigned i = 0; i < OPS; i++)
            assert_false(kept[i].came);
        stack_pass(20 * NS_PER_MS);
        for (unsigned i = 0; i < OPS; i++) {
            assert_true(kept[i].came);
            assert_int_equal(kept[i].ret, -ESHUTDOWN);
        }
        stack_release("e");
        stack_release("b");
        stack_await(&ended);
        assert_int_equal(ended.code, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_dies_takes_its_requests_along),
        cmocka_unit_test(one_that_is_not_read_from_is_noticed_when_it_dies),
        cmocka_unit_test(a_client_that_says_goodbye_waits_for_the_limit),
        cmocka_unit_test(a_removed_export_lets_go_what_waits),
        cmocka_unit_test(an_engine_that_ends_lets_go_what_waits),
        cmocka_unit_test(at_the_deadline_only_that_fails_which_the_medium_keeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
