/* Requests as words, and what is refused of them. */
#include "request_rig.h"

#include "proto/convert.h"
#include "proto/words.h"

/* The line is refused with a sentence that holds `expected`, and names the field. */
static void refused(const char *line, const char *field, const char *expected)
{
    struct refusal refusal = {0};
    Sluice__Request *message = words_request_line(line, &refusal);
    if (message)
        fail_msg("\"%s\" was taken", line);
    if (!strstr(refusal.text, expected))
        fail_msg("\"%s\" was refused with: %s", line, refusal.text);
    assert_string_equal(refusal.field, field);
}

static void one_word_or_two_name_the_same_request(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "node-add driver=null name=n",
        "node add driver=null name=n",
        "node_add n driver=null",
        "node add  'n'\tdriver=\"null\"",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        Sluice__Request *message = request(lines[i]);
        assert_int_equal(message->body_case, SLUICE__REQUEST__BODY_NODE_ADD);
        assert_string_equal(message->node_add->name, "n");
        assert_string_equal(message->node_add->driver, "null");
        done(message);
    }
}

static void a_bare_word_fills_the_first_required_field(void **state)
{
    (void)state;
    Sluice__Request *message = request("io read offset=1M vd0 bytes=4K");
    assert_string_equal(message->io_read->backend, "vd0");
    assert_int_equal(message->io_read->offset, 1 << 20);
    assert_int_equal(message->io_read->bytes, 4096);
    done(message);
    refused("node show a b", "", "\"b\" must be written as key=value");
}

static void dash_and_underscore_are_the_same_in_names(void **state)
{
    (void)state;
    Sluice__Request *message = request("backend-add name=b read-only=on");
    assert_true(message->backend_add->has_read_only && message->backend_add->read_only);
    done(message);
    message = request("export_add type=nbd backend=b max_connections=3");
    assert_int_equal(message->export_add->max_connections, 3);
    done(message);
}

static void unknown_keys_are_the_drivers_options(void **state)
{
    (void)state;
    Sluice__Request *message = request("node-add driver=file name=d filename=/a=b,c size=1G");
    assert_int_equal(message->node_add->n_options, 2);
    assert_string_equal(message->node_add->options[0]->key, "filename");
    assert_string_equal(message->node_add->options[0]->value, "/a=b,c");
    assert_string_equal(message->node_add->options[1]->value, "1G");
    done(message);
}

static void refusals_name_the_field_and_what_would_do(void **state)
{
    (void)state;
    refused("", "", "a request is needed: status, shutdown, pause, resume, node-add");
    refused("nonsense", "",
            "the request \"nonsense\" is unknown; known are: status, shutdown, pause");
    refused("node", "", "node alone is unknown; node can be followed by: add, list, show, remove");
    refused("node destroy", "", "node destroy is unknown; node can be followed by: add, list");
    refused("id", "", "the request \"id\" is unknown");
    refused("backend-set nam=b", "nam",
            "backend-set has no field \"nam\"; it takes name, werror, "
            "rerror");
    refused("backend-add node=n", "name", "backend-add needs name, which is missing");
    refused("backend-add name=a name=b", "name", "backend-add: name is given twice");
    refused("export-add type=nbd backend=b max-connections=1 max_connections=2", "max_connections",
            "export-add: max_connections is given twice");
    refused("node-add name=n driver=null size=1 size=2", "size", "node-add: size is given twice");
    refused("backend-add name=b read-only=maybe", "read_only",
            "backend-add: read_only is \"maybe\", but must be on or off");
    refused("export-add type=nbd backend=b port=x", "port",
            "export-add: port is \"x\", but must be a whole number");
    refused("export-add type=nbd backend=b port=4G", "port",
            "export-add: port is \"4G\", but must be from 0 to 4294967295");
    refused("export-add type=nbd backend=b port=-1", "port", "must be from 0 to 4294967295");
    refused("io-read backend=b offset=9E", "offset",
            "must be from -9223372036854775808 to 9223372036854775807");
    refused("status now=on", "now", "status takes nothing, but \"now\" is given");
    refused("node-add =x", "", "\"=x\" has no key before its =");
    refused("node-add 'x", "", "the quote ' is not closed");
    refused("node-add driver=null name=\xff", "name", "name is not text in UTF-8");
    refused("node-add driver=null name=n opt=\xc0\x80", "opt", "opt is not text in UTF-8");
}

static void overlong_texts_are_refused(void **state)
{
    (void)state;
    size_t size = CONVERT_TEXT + 100;
    char *line = malloc(size);
    memset(line, 'x', size - 1);
    line[size - 1] = '\0';
    memcpy(line, "backend-add name=", 17);
    refused(line, "name", "65536 are the most");
    free(line);
}

static void commas_separate_and_doubled_ones_stand_for_one(void **state)
{
    (void)state;
    struct words words;
    words_split_commas("driver=file,filename=/a,,b,name=d", &words);
    assert_int_equal(words.n, 3);
    assert_string_equal(words.word[1], "filename=/a,b");
    words_free(&words);
    words_split_commas("", &words);
    assert_int_equal(words.n, 0);
    words_free(&words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_word_or_two_name_the_same_request),
        cmocka_unit_test(a_bare_word_fills_the_first_required_field),
        cmocka_unit_test(dash_and_underscore_are_the_same_in_names),
        cmocka_unit_test(unknown_keys_are_the_drivers_options),
        cmocka_unit_test(refusals_name_the_field_and_what_would_do),
        cmocka_unit_test(overlong_texts_are_refused),
        cmocka_unit_test(commas_separate_and_doubled_ones_stand_for_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
