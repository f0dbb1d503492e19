/* What people are shown: help, tables, blocks, events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/docs.h"
#include "proto/help.h"
#include "proto/reflect.h"
#include "proto/render.h"

static void documented(const ProtobufCMessageDescriptor *type, unsigned depth)
{
    assert_true(depth < 10);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const char *text = docs_find(type->name, field->name);
        if (!text || strlen(text) < 3)
            fail_msg("%s.%s has no comment", type->name, field->name);
        if (field->type == PROTOBUF_C_TYPE_MESSAGE)
            documented(field->descriptor, depth + 1);
    }
}

static void every_field_has_a_comment_for_help(void **state)
{
    (void)state;
    documented(&sluice__request__descriptor, 0);
    documented(&sluice__reply__descriptor, 0);
    assert_non_null(docs_find("sluice.NodeAdd", NULL));
    assert_non_null(docs_find("sluice.Error.Class", "IN_USE"));
    assert_null(docs_find("sluice.NodeAdd", "nonsense"));
}

static char *printed(void (*print)(FILE *, const void *), const void *arg)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    print(out, arg);
    fclose(out);
    return text;
}

static void show_help(FILE *out, const void *body)
{
    help_request(out, body);
}

static void show_message(FILE *out, const void *message)
{
    render_message(out, message);
}

static void show_event(FILE *out, const void *event)
{
    render_event(out, event);
}

static void help_tells_every_field_type_and_default(void **state)
{
    (void)state;
    char *text = printed(show_help, reflect_field(&sluice__request__descriptor, "export-add"));
    assert_non_null(strstr(text, "  type=TEXT (required)\n"));
    assert_non_null(strstr(text, "  host=TEXT [127.0.0.1]\n"));
    assert_non_null(strstr(text, "  max-connections=NUMBER [64]\n"));
    assert_non_null(strstr(text, "  writable=on|off [off]\n"));
    assert_non_null(strstr(text, "TCP port to listen on"));
    free(text);
}

static void a_table_has_the_columns_that_tell_something(void **state)
{
    (void)state;
    Sluice__NodeList list = SLUICE__NODE_LIST__INIT;
    Sluice__NodeInfo a = SLUICE__NODE_INFO__INIT, b = SLUICE__NODE_INFO__INIT;
    Sluice__NodeInfo *nodes[] = {&a, &b};
    char *users[] = {"vd0", "vd1"}, *can[] = {"discard", "fua"};
    Sluice__Option option = SLUICE__OPTION__INIT, *options[] = {&option};
    a.name = "disk";
    a.driver = "file";
    a.has_length = 1;
    a.length = UINT64_C(3) << 29;
    a.users = users;
    a.n_users = 2;
    option.key = option.value = "wide";
    a.options = a.state = options;
    a.n_options = a.n_state = 1;
    a.can = can;
    a.n_can = 2;
    b.name = "a-longer-name";
    b.driver = "null\x1b[2J";
    list.nodes = nodes;
    list.n_nodes = 2;
    char *text = printed(show_message, &list);
    assert_string_equal(text, "NAME           DRIVER    LENGTH   USERS\n"
                              "disk           file      1.5 GiB  vd0, vd1\n"
                              "a-longer-name  null?[2J\n");
    free(text);
    list.n_nodes = 0;
    text = printed(show_message, &list);
    assert_string_equal(text, "no nodes\n");
    free(text);
}

static void one_object_is_a_block(void **state)
{
    (void)state;
    Sluice__BackendInfo info = SLUICE__BACKEND_INFO__INIT;
    Sluice__OpCounters read = SLUICE__OP_COUNTERS__INIT, write = SLUICE__OP_COUNTERS__INIT;
    info.name = "vd0";
    info.has_length = 1;
    info.length = 1 << 20;
    read.has_operations = read.has_bytes = 1;
    read.operations = 5;
    read.bytes = 20480;
    info.read = &read;
    info.write = &write;
    char *text = printed(show_message, &info);
    assert_string_equal(text, "name:   vd0\n"
                              "length: 1 MiB\n"
                              "read:   operations 5, bytes 20 KiB\n");
    free(text);
}

static void an_event_is_one_line(void **state)
{
    (void)state;
    Sluice__Event event = SLUICE__EVENT__INIT;
    Sluice__NodeEvent node = SLUICE__NODE_EVENT__INIT;
    node.node = "disk";
    node.driver = "file";
    event.sequence = 12;
    event.time = 1000000;
    event.body_case = SLUICE__EVENT__BODY_NODE_ADDED;
    event.node_added = &node;
    char *text = printed(show_event, &event);
    assert_non_null(strstr(text, "    12  "));
    assert_non_null(strstr(text, "NODE_ADDED           node disk, driver file\n"));
    free(text);
    Sluice__PermissionEvent permission = SLUICE__PERMISSION_EVENT__INIT;
    char *permissions[] = {"consistent-read", "write"}, *shares[] = {"consistent-read"};
    permission.node = "disk";
    permission.permissions = permissions;
    permission.n_permissions = 2;
    permission.shares = shares;
    permission.n_shares = 1;
    event.body_case = SLUICE__EVENT__BODY_PERMISSION_CHANGED;
    event.permission_changed = &permission;
    text = printed(show_event, &event);
    assert_non_null(strstr(text, "PERMISSION_CHANGED   node disk, permissions "
                                 "consistent-read+write, shares consistent-read\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_has_a_comment_for_help),
        cmocka_unit_test(help_tells_every_field_type_and_default),
        cmocka_unit_test(a_table_has_the_columns_that_tell_something),
        cmocka_unit_test(one_object_is_a_block),
        cmocka_unit_test(an_event_is_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
