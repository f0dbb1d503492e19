/* Where sockets may listen, and what is remembered of clients. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "actors/clients.h"
#include "actors/endpoint.h"

static char folder[] = "/tmp/sluice-test-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static void refused(const char *text, int code, const char *expected)
{
    struct endpoint endpoint;
    struct err err = {0};
    int ret = endpoint_claim(&endpoint, text, &err);
    if (ret != code || !strstr(err.text, expected))
        fail_msg("%s: %d, %s", text, ret, err.text);
    assert_int_equal(endpoint.lock, -1);
}

static const char *in_folder(const char *name)
{
    static char text[200];
    snprintf(text, sizeof text, "ipc://%s/%s", folder, name);
    return text;
}

static void tcp_is_for_loopback_only(void **state)
{
    (void)state;
    struct endpoint endpoint;
    static const char *const good[][2] = {
        {"tcp://127.0.0.1:5555", "tcp://127.0.0.1:5555"},
        {"tcp://127.1.2.3:*", "tcp://127.1.2.3:*"},
        {"tcp://localhost:1", "tcp://127.0.0.1:1"},
        {"tcp://[::1]:5555", "tcp://[::1]:5555"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(endpoint_claim(&endpoint, good[i][0], NULL), 0);
        assert_string_equal(endpoint.bind, good[i][1]);
        endpoint_release(&endpoint);
    }
    refused("tcp://0.0.0.0:5555", -EACCES, "beyond loopback anyone could give orders");
    refused("tcp://*:5555", -EACCES, "beyond loopback");
    refused("tcp://eth0:5555", -EACCES, "beyond loopback");
    refused("tcp://[::]:5555", -EACCES, "beyond loopback");
    refused("tcp://192.168.0.1:5555", -EACCES, "beyond loopback");
    refused("tcp://127.0.0.1", -EINVAL, "it must end in a port");
    refused("tcp://127.0.0.1:99999", -EINVAL, "it must end in a port");
    refused("tcp://127.0.0.1:-1", -EINVAL, "it must end in a port");
}

static void what_is_no_endpoint_is_refused(void **state)
{
    (void)state;
    char text[400];
    refused("", -EINVAL, "an endpoint is ipc://PATH or tcp://127.0.0.1:PORT");
    refused("inproc://x", -EINVAL, "an endpoint is");
    refused("/run/x", -EINVAL, "an endpoint is");
    refused("ipc://", -EINVAL, "a path is needed");
    refused("ipc://*", -EINVAL, "a path is needed");
    refused("ipc://@abstract", -EINVAL, "a path is needed");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memcpy(text, "tcp://", 6);
    refused(text, -ENAMETOOLONG, "too long");
    memcpy(text, "ipc://", 6);
    refused(text, -ENAMETOOLONG, "Unix sockets take 107; choose a shorter one");
    refused("ipc:///nonexistent/a/b", -ENOENT, "/nonexistent/a: No such file or directory");
}

static void a_missing_folder_is_made_for_the_owner_only(void **state)
{
    (void)state;
    struct endpoint endpoint;
    struct stat found;
    char path[200];
    assert_int_equal(endpoint_claim(&endpoint, in_folder("made/c.sock"), NULL), 0);
    snprintf(path, sizeof path, "%s/made", folder);
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0700);
    endpoint_release(&endpoint);
    assert_int_equal(rmdir(path), 0); /* the lock file is gone */
}

static void a_second_owner_is_refused_and_told_the_first(void **state)
{
    (void)state;
    struct endpoint endpoint;
    char expected[100];
    const char *text = in_folder("c.sock");
    assert_int_equal(endpoint_claim(&endpoint, text, NULL), 0);
    refused(text, -EADDRINUSE, "this process uses it already");
    snprintf(expected, sizeof expected, "process %ld uses it", (long)getpid());
    pid_t child = fork();
    if (child == 0) {
        struct endpoint other;
        struct err err = {0};
        int ret = endpoint_claim(&other, text, &err);
        _exit(ret == -EADDRINUSE && strstr(err.text, expected) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    endpoint_release(&endpoint);
    assert_int_equal(endpoint_claim(&endpoint, text, NULL), 0);
    endpoint_release(&endpoint);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(address.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void a_path_left_over_is_taken_but_a_living_one_is_not(void **state)
{
    (void)state;
    struct endpoint endpoint;
    const char *text = in_folder("old.sock"), *path = text + 6;
    int fd = listen_at(path);
    refused(text, -EADDRINUSE, "another program listens there");
    close(fd);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(endpoint_claim(&endpoint, text, NULL), 0);
    assert_int_equal(access(path, F_OK), -1);
    endpoint_release(&endpoint);
}

static void what_is_no_socket_is_left_alone(void **state)
{
    (void)state;
    const char *text = in_folder("precious");
    FILE *file = fopen(text + 6, "w");
    assert_non_null(file);
    fclose(file);
    refused(text, -EEXIST, "no socket; remove it, or choose another path");
    assert_int_equal(access(text + 6, F_OK), 0);
}

/* --- clients -----------------------------------------------------------------------------------
 */

static void a_reply_is_remembered_by_client_and_id(void **state)
{
    (void)state;
    struct clients clients = {0};
    struct client *a = clients_find(&clients, "a", 1), *b = clients_find(&clients, "b", 1);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(clients_find(&clients, "a", 1), a);
    assert_true(client_begin(a, 7));
    assert_true(client_is_busy(a, 7));
    assert_false(client_is_busy(b, 7));
    assert_null(client_recall(a, 7));
    client_end(&clients, a, 7, "reply", 5);
    assert_false(client_is_busy(a, 7));
    assert_memory_equal(client_recall(a, 7)->data, "reply", 5);
    assert_null(client_recall(b, 7));
    clients_free(&clients);
    assert_int_equal(clients.bytes, 0);
}

static void id_0_is_never_remembered(void **state)
{
    (void)state;
    struct clients clients = {0};
    struct client *a = clients_find(&clients, "a", 1);
    assert_true(client_begin(a, 0));
    assert_false(client_is_busy(a, 0));
    client_end(&clients, a, 0, "reply", 5);
    assert_null(client_recall(a, 0));
    clients_free(&clients);
}

static void what_is_under_way_and_remembered_is_bounded(void **state)
{
    (void)state;
    struct clients clients = {0};
    struct client *a = clients_find(&clients, "a", 1);
    for (uint64_t id = 1; id <= CLIENT_IN_FLIGHT; id++)
        assert_true(client_begin(a, id));
    assert_false(client_begin(a, 1000));
    assert_false(client_begin(a, 0));
    for (uint64_t id = 1; id <= CLIENT_IN_FLIGHT; id++)
        client_end(&clients, a, id, "x", 1);
    for (uint64_t id = 1000; id < 1000 + CLIENT_REPLIES; id++) {
        assert_true(client_begin(a, id));
        client_end(&clients, a, id, "x", 1);
    }
    assert_null(client_recall(a, 1));
    assert_non_null(client_recall(a, 1000));
    char *large = calloc(1, CLIENT_REPLY_BYTES);
    assert_true(client_begin(a, 5000));
    client_end(&clients, a, 5000, large, CLIENT_REPLY_BYTES);
    assert_non_null(client_recall(a, 5000));
    assert_null(client_recall(a, 1000));
    assert_int_equal(clients.bytes, CLIENT_REPLY_BYTES);
    /* Beyond the bound of all, those that were silent for longest lose theirs. */
    for (unsigned n = 0; n < CLIENTS_BYTES / CLIENT_REPLY_BYTES; n++) {
        struct client *other = clients_find(&clients, &n, sizeof n);
        assert_true(client_begin(other, 1));
        client_end(&clients, other, 1, large, CLIENT_REPLY_BYTES);
    }
    assert_true(clients.bytes <= CLIENTS_BYTES);
    assert_null(client_recall(a, 5000));
    free(large);
    clients_free(&clients);
}

static void the_silent_are_forgotten_but_not_the_waiting(void **state)
{
    (void)state;
    struct clients clients = {0};
    struct client *waiting = clients_find(&clients, "w", 1);
    assert_true(client_begin(waiting, 1));
    clients_find(&clients, "idle", 4);
    for (unsigned n = 0; n < CLIENTS_MAX; n++)
        assert_non_null(clients_find(&clients, &n, sizeof n));
    assert_int_equal(clients.count, CLIENTS_MAX);
    assert_ptr_equal(clients_find(&clients, "w", 1), waiting);
    client_end(&clients, waiting, 1, "x", 1);
    for (struct client *client = clients.oldest; client; client = client->newer)
        assert_true(client_begin(client, 1));
    assert_null(clients_find(&clients, "new", 3));
    clients_free(&clients);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_is_for_loopback_only),
        cmocka_unit_test(what_is_no_endpoint_is_refused),
        cmocka_unit_test(a_missing_folder_is_made_for_the_owner_only),
        cmocka_unit_test(a_second_owner_is_refused_and_told_the_first),
        cmocka_unit_test(a_path_left_over_is_taken_but_a_living_one_is_not),
        cmocka_unit_test(what_is_no_socket_is_left_alone),
        cmocka_unit_test(a_reply_is_remembered_by_client_and_id),
        cmocka_unit_test(id_0_is_never_remembered),
        cmocka_unit_test(what_is_under_way_and_remembered_is_bounded),
        cmocka_unit_test(the_silent_are_forgotten_but_not_the_waiting),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
