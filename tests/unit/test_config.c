/* Files of requests, YAML or JSON. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/config.h"

static struct config config_of(const char *text)
{
    struct config config;
    struct refusal refusal = {0};
    if (config_parse(text, strlen(text), &config, &refusal))
        fail_msg("refused: %s", refusal.text);
    return config;
}

static void config_refused(const char *text, const char *expected)
{
    struct config config;
    struct refusal refusal = {0};
    if (config_parse(text, strlen(text), &config, &refusal) != -EINVAL)
        fail_msg("taken: %s", text);
    if (!strstr(refusal.text, expected))
        fail_msg("refused with: %s", refusal.text);
}

static void yaml_and_json_hold_the_same_requests(void **state)
{
    (void)state;
    static const char *const files[] = {
        "# a disk\n"
        "- node-add:\n    driver: file\n    name: disk\n    filename: /srv/a b.img\n"
        "    direct: on\n    server: {host: '::1', port: 10}\n"
        "- backend_add: {name: 007, node: disk, read-only: true}\n",
        "requests:\n"
        "  - node-add: {driver: file, name: disk, filename: /srv/a b.img, direct: on, "
        "server: {host: '::1', port: 10}}\n"
        "  - backend-add: {name: \"007\", node: disk, read_only: yes}\n",
        "[{\"node-add\": {\"driver\": \"file\", \"name\": \"disk\", \"filename\": "
        "\"/srv/a b.img\", \"direct\": \"on\", \"server\": {\"host\":\"::1\",\"port\":10}}},\n\t"
        "{\"backend-add\":{\"name\":\"007\",\"node\":\"disk\",\"read_only\":true}}]",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct config config = config_of(files[i]);
        assert_int_equal(config.n, 2);
        Sluice__NodeAdd *node = config.items[0].request->node_add;
        assert_string_equal(node->name, "disk");
        assert_int_equal(node->n_options, 4);
        assert_string_equal(node->options[0]->value, "/srv/a b.img");
        assert_string_equal(node->options[1]->value, "on");
        assert_string_equal(node->options[2]->key, "server.host");
        assert_string_equal(node->options[2]->value, "::1");
        assert_string_equal(node->options[3]->key, "server.port");
        assert_string_equal(config.items[1].request->backend_add->name, "007");
        assert_true(config.items[1].request->backend_add->read_only);
        config_free(&config);
    }
}

static void null_is_a_driver_and_an_empty_body(void **state)
{
    (void)state;
    struct config config = config_of("- node-add: {driver: null, name: n}\n- node-list:\n"
                                     "- backend-list: null\n- export-list: {}\n");
    assert_int_equal(config.n, 4);
    assert_string_equal(config.items[0].request->node_add->driver, "null");
    assert_int_equal(config.items[3].line, 4);
    config_free(&config);
}

static void json_escapes_beyond_16_bits_are_read(void **state)
{
    (void)state;
    struct config config = config_of("[{\"export-add\":{\"type\":\"nbd\",\"backend\":\"b\","
                                     "\"description\":\"\\ud83d\\ude00\"}}]");
    assert_string_equal(config.items[0].request->export_add->description, "\xf0\x9f\x98\x80");
    config_free(&config);
}

static void an_empty_file_asks_nothing(void **state)
{
    (void)state;
    struct config config = config_of("");
    assert_int_equal(config.n, 0);
    config_free(&config);
    config = config_of("# nothing yet\n");
    assert_int_equal(config.n, 0);
    config_free(&config);
    config = config_of("requests:\n");
    assert_int_equal(config.n, 0);
    config_free(&config);
}

static void refusals_of_a_file_tell_the_line(void **state)
{
    (void)state;
    config_refused("- status:\n- node-ad: {}\n", "line 2: the request \"node-ad\" is unknown");
    config_refused("- status:\n\n- node-add: {name: n}\n", "line 3: node-add needs driver");
    config_refused("- node-add: {name: a, name: b}\n", "line 1: name is given twice");
    config_refused("[{\"node-add\": {\"name\": \"a\", \"name\": \"b\"}}]", "name is given twice");
    config_refused("- &a status:\n", "line 1: ");
    config_refused("- node-add: &x {driver: null, name: n}\n", "line 1: anchors are not taken");
    config_refused("- status:\n- node-add: *x\n", "line 2: aliases are not taken");
    config_refused("- node-add: {driver: !!str null, name: n}\n", "line 1: tags are not taken");
    config_refused("- status:\n---\n- status:\n", "line 2: a second document begins here");
    config_refused("a: 1\n", "line 1: a file is a list of requests");
    config_refused("just words\n", "line 1: a file must be a list of requests");
    config_refused("- status\n", "line 1: a request must be one key");
    config_refused("- {status: , shutdown: }\n", "line 1: a request must be one key");
    config_refused("- [a: b\n", "line 2: ");
    config_refused("- backend-add: {name: }\n", "line 1: backend-add: name is nothing");
    config_refused("- id: 3\n", "line 1: the request \"id\" is unknown");
    config_refused("- \"\\0\": x\n", "line 1: ");
    config_refused("- [[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]\n",
                   "line 1: nested more than 16 deep");
}

static void a_file_of_too_many_values_or_bytes_is_refused(void **state)
{
    (void)state;
    size_t n = CONFIG_VALUES + 10;
    char *text = malloc(n * 4 + 1);
    for (size_t i = 0; i < n; i++)
        memcpy(text + 4 * i, "- a\n", 5);
    config_refused(text, "more than 100000 values in one file");
    free(text);
    text = calloc(1, CONFIG_SIZE + 2);
    memset(text, '#', CONFIG_SIZE + 1);
    config_refused(text, "1048576 are the most");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_and_json_hold_the_same_requests),
        cmocka_unit_test(null_is_a_driver_and_an_empty_body),
        cmocka_unit_test(json_escapes_beyond_16_bits_are_read),
        cmocka_unit_test(an_empty_file_asks_nothing),
        cmocka_unit_test(refusals_of_a_file_tell_the_line),
        cmocka_unit_test(a_file_of_too_many_values_or_bytes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
