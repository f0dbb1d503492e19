/* Texts to messages and back: words, JSON, YAML, wire checks, help, what people are shown. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <json-c/json.h>

#include "proto/base64.h"
#include "proto/check.h"
#include "proto/config.h"
#include "proto/convert.h"
#include "proto/docs.h"
#include "proto/help.h"
#include "proto/reflect.h"
#include "proto/render.h"
#include "proto/units.h"
#include "proto/words.h"

static Sluice__Request *request(const char *line)
{
    struct refusal refusal = {0};
    Sluice__Request *message = words_request_line(line, &refusal);
    if (!message)
        fail_msg("\"%s\" was refused: %s", line, refusal.text);
    return message;
}

static void done(Sluice__Request *message)
{
    sluice__request__free_unpacked(message, NULL);
}

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

static void sizes_are_exact_and_checked_for_overflow(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int ret;
        uint64_t bytes;
    } cases[] = {
        {"0", 0, 0},
        {"4096", 0, 4096},
        {"512B", 0, 512},
        {"64K", 0, 65536},
        {"64k", 0, 65536},
        {"64KiB", 0, 65536},
        {"64kib", 0, 65536},
        {"1.5G", 0, UINT64_C(3) << 29},
        {"2T", 0, UINT64_C(2) << 40},
        {"3P", 0, UINT64_C(3) << 50},
        {"15EiB", 0, UINT64_C(15) << 60},
        {"0x1000", 0, 4096},
        {"0x10K", -EINVAL, 0},
        {"18446744073709551615", 0, UINT64_MAX},
        /* A double would round these. */
        {"9007199254740993", 0, UINT64_C(9007199254740993)},
        {"7.000000000000000001E", 0, (UINT64_C(7) << 60) + 1},
        {"15.999999999999999999E", 0, UINT64_C(18446744073709551614)},
        /* What is below a whole byte is dropped. */
        {"0.1K", 0, 102},
        {"0.3G", 0, 322122547},
        {"18446744073709551616", -ERANGE, 0},
        {"16E", -ERANGE, 0},
        {"99999999999999999999999K", -ERANGE, 0},
        {"0x10000000000000000", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"K", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1 K", -EINVAL, 0},
        {"1.5", -EINVAL, 0},
        {"1.5B", -EINVAL, 0},
        {"1.", -EINVAL, 0},
        {"1.K", -EINVAL, 0},
        {"1..5K", -EINVAL, 0},
        {".5K", -EINVAL, 0},
        {"1,5G", -EINVAL, 0},
        {"0.0000000000000000001E", -EINVAL, 0},
        {"15.9999999999999999999E0", -EINVAL, 0},
        {"64KB", -EINVAL, 0},
        {"64KK", -EINVAL, 0},
        {"64iB", -EINVAL, 0},
        {"iB", -EINVAL, 0},
        {"64Q", -EINVAL, 0},
        {"0x", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t bytes = 0;
        int ret = units_parse_size(cases[i].text, &bytes);
        if (ret != cases[i].ret || bytes != cases[i].bytes)
            fail_msg("\"%s\": %d, %llu", cases[i].text, ret, (unsigned long long)bytes);
    }
    int64_t value;
    assert_int_equal(units_parse_signed("-8E", &value), 0);
    assert_true(value == INT64_MIN);
    assert_int_equal(units_parse_signed("8E", &value), -ERANGE);
}

static void durations_are_exact_and_checked_for_overflow(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int ret;
        uint64_t ns;
    } cases[] = {
        {"2", 0, UINT64_C(2000000000)},
        {"0.1", 0, 100000000},
        {"1.5", 0, 1500000000},
        {"10s", 0, UINT64_C(10000000000)},
        {"1.5ms", 0, 1500000},
        {"250us", 0, 250000},
        {"7ns", 0, 7},
        {"1m", 0, UINT64_C(60000000000)},
        {"1.5h", 0, UINT64_C(5400000000000)},
        {"0.0000000015", 0, 1},
        {"600000h", 0, UINT64_C(2160000000000000000)},
        {"6000000h", -ERANGE, 0},
        {"18446744074", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"ms", -EINVAL, 0},
        {"-1s", -EINVAL, 0},
        {"1.5ns", -EINVAL, 0},
        {"1 s", -EINVAL, 0},
        {"1S", -EINVAL, 0},
        {"1M", -EINVAL, 0},
        {"1d", -EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t ns = 0;
        int ret = units_parse_duration(cases[i].text, &ns);
        if (ret != cases[i].ret || ns != cases[i].ns)
            fail_msg("\"%s\": %d, %llu", cases[i].text, ret, (unsigned long long)ns);
    }
}

static void switches_take_the_usual_words(void **state)
{
    (void)state;
    static const char *const on[] = {"on", "yes", "true", "1", "ON", "Yes"};
    static const char *const off[] = {"off", "no", "false", "0", "Off", "NO"};
    bool value;
    for (size_t i = 0; i < sizeof on / sizeof *on; i++) {
        assert_int_equal(units_parse_switch(on[i], &value), 0);
        assert_true(value);
        assert_int_equal(units_parse_switch(off[i], &value), 0);
        assert_false(value);
    }
    assert_int_equal(units_parse_switch("2", &value), -EINVAL);
    assert_int_equal(units_parse_switch("maybe", &value), -EINVAL);
    assert_int_equal(units_parse_switch("", &value), -EINVAL);
}

static void what_is_written_reads_as_the_same_number(void **state)
{
    (void)state;
    char text[UNITS_TEXT];
    assert_string_equal(units_write_size(0, text), "0");
    assert_string_equal(units_write_size(511, text), "511B");
    assert_string_equal(units_write_size(UINT64_C(1) << 40, text), "1T");
    assert_string_equal(units_write_size(UINT64_C(3) << 29, text), "1536M");
    assert_string_equal(units_write_size(UINT64_MAX, text), "18446744073709551615B");
    assert_string_equal(units_write_duration(1500000, text), "1500us");
    assert_string_equal(units_write_duration(UINT64_C(120000000000), text), "2m");
    assert_string_equal(units_write_duration(UINT64_MAX, text), "18446744073709551615ns");
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t number = UINT64_C(1) << bit, back = 0;
        assert_int_equal(units_parse_size(units_write_size(number, text), &back), 0);
        assert_true(back == number);
        assert_int_equal(units_parse_duration(units_write_duration(number, text), &back), 0);
        assert_true(back == number);
    }
}

static void durations_are_printed_for_people(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "0"},
        {1, "1 ns"},
        {999, "999 ns"},
        {1000, "1.00 us"},
        {31400, "31.4 us"},
        {313000, "313 us"},
        {1250000, "1.25 ms"},
        {1500000000, "1.50 s"},
        {UINT64_C(7200000000000), "7200 s"},
    };
    char text[UNITS_TEXT];
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(units_print_duration(cases[i].ns, text), cases[i].text);
}

static void sizes_are_shown_with_their_unit(void **state)
{
    (void)state;
    char text[UNITS_TEXT];
    assert_string_equal(units_print_size(0, text), "0 B");
    assert_string_equal(units_print_size(1023, text), "1023 B");
    assert_string_equal(units_print_size(1536, text), "1.5 KiB");
    assert_string_equal(units_print_size(1 << 20, text), "1 MiB");
    assert_string_equal(units_print_size((1 << 20) + 1, text), "~1 MiB");
    assert_string_equal(units_print_size(UINT64_MAX, text), "~15.9 EiB");
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

static void *from_json(const ProtobufCMessageDescriptor *type, const char *text,
                       struct refusal *refusal)
{
    struct json_object *object = json_tokener_parse(text);
    assert_non_null(object);
    void *message = convert_from_json(type, "it", object, refusal);
    json_object_put(object);
    return message;
}

static void bytes_are_text_or_base64(void **state)
{
    (void)state;
    struct refusal refusal;
    const ProtobufCMessageDescriptor *type = &sluice__io_write__descriptor;
    Sluice__IoWrite *io = from_json(type, "{\"backend\":\"b\",\"data\":\"hello\"}", &refusal);
    assert_int_equal(io->data.len, 5);
    assert_memory_equal(io->data.data, "hello", 5);
    protobuf_c_message_free_unpacked(&io->base, NULL);
    io = from_json(type, "{\"backend\":\"b\",\"data\":{\"base64\":\"AP8B\"}}", &refusal);
    assert_int_equal(io->data.len, 3);
    assert_memory_equal(io->data.data, "\0\xff\1", 3);
    protobuf_c_message_free_unpacked(&io->base, NULL);
    assert_null(from_json(type, "{\"backend\":\"b\",\"data\":{\"base64\":\"A\"}}", &refusal));
    assert_string_equal(refusal.text, "it: data is not base64");
    assert_null(from_json(type, "{\"backend\":\"b\",\"data\":[1]}", &refusal));
    assert_non_null(strstr(refusal.text, "must be a text, or {\"base64\": TEXT}"));
}

static void base64_goes_there_and_back(void **state)
{
    (void)state;
    uint8_t data[100];
    for (size_t size = 0; size < sizeof data; size++) {
        size_t back;
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)(i * 37 + size);
        char *text = base64_encode(data, size);
        uint8_t *again = base64_decode(text, strlen(text), &back);
        assert_non_null(again);
        assert_int_equal(back, size);
        assert_memory_equal(again, data, size);
        free(text);
        free(again);
    }
    size_t size;
    assert_null(base64_decode("A=B=", 4, &size));
    assert_null(base64_decode("AB*=", 4, &size));
    assert_null(base64_decode("====", 4, &size));
}

static void json_values_are_bounded_and_typed(void **state)
{
    (void)state;
    struct refusal refusal;
    const ProtobufCMessageDescriptor *type = &sluice__event__descriptor;
    assert_null(from_json(type, "[]", &refusal));
    assert_non_null(strstr(refusal.text, "it must be an object"));
    assert_null(from_json(type, "{\"epoch\":-1,\"sequence\":1,\"time\":1}", &refusal));
    assert_non_null(strstr(refusal.text, "epoch is \"-1\", but must be from 0 to"));
    assert_null(from_json(type, "{\"epoch\":1.5,\"sequence\":1,\"time\":1}", &refusal));
    assert_non_null(strstr(refusal.text, "epoch is \"1.5\", but must be a whole number"));
    assert_null(
        from_json(type, "{\"epoch\":1,\"sequence\":1,\"time\":1,\"severity\":\"X\"}", &refusal));
    assert_string_equal(refusal.text,
                        "it: severity is \"X\", but must be one of INFO, WARNING, ERROR");
    assert_null(from_json(
        type, "{\"epoch\":1,\"sequence\":1,\"time\":1,\"shutdown\":{\"last\":1},\"welcome\":null}",
        &refusal));
    assert_non_null(strstr(refusal.text, "exclude each other"));
    assert_null(
        from_json(type, "{\"epoch\":1,\"sequence\":1,\"time\":1,\"shutdown\":3}", &refusal));
    assert_non_null(strstr(refusal.text, "shutdown is \"3\", but must be an object"));
    Sluice__Event *event =
        from_json(type,
                  "{\"epoch\":18446744073709551615,\"sequence\":\"2K\",\"time\":1,"
                  "\"severity\":\"warning\",\"shutdown\":{\"last\":7}}",
                  &refusal);
    assert_non_null(event);
    assert_true(event->epoch == UINT64_MAX && event->sequence == 2048);
    assert_int_equal(event->severity, SLUICE__EVENT__SEVERITY__WARNING);
    assert_int_equal(event->shutdown->last, 7);
    sluice__event__free_unpacked(event, NULL);
}

static void messages_survive_the_way_through_json(void **state)
{
    (void)state;
    Sluice__Request *message = request("node-add name=n driver=file size=1M child=c reactor=1 "
                                       "filename='/x y'");
    struct json_object *object = convert_to_json(&message->node_add->base);
    struct refusal refusal;
    Sluice__NodeAdd *again =
        convert_from_json(&sluice__node_add__descriptor, "node-add", object, &refusal);
    assert_non_null(again);
    size_t size = sluice__node_add__get_packed_size(message->node_add);
    uint8_t *a = malloc(size), *b = malloc(size);
    assert_int_equal(sluice__node_add__get_packed_size(again), size);
    sluice__node_add__pack(message->node_add, a);
    sluice__node_add__pack(again, b);
    assert_memory_equal(a, b, size);
    free(a);
    free(b);
    json_object_put(object);
    sluice__node_add__free_unpacked(again, NULL);
    done(message);
}

static void replies_leave_out_what_is_not_set_but_show_defaults(void **state)
{
    (void)state;
    Sluice__Reply reply = SLUICE__REPLY__INIT;
    Sluice__BackendInfo info = SLUICE__BACKEND_INFO__INIT;
    info.name = "vd0";
    reply.body_case = SLUICE__REPLY__BODY_BACKEND;
    reply.backend = &info;
    char *text = convert_reply(&reply);
    assert_non_null(strstr(text, "\"name\": \"vd0\""));
    assert_non_null(strstr(text, "\"in_flight\": 0"));
    assert_null(strstr(text, "\"node\""));
    free(text);
    Sluice__Error error = SLUICE__ERROR__INIT;
    error.class_ = SLUICE__ERROR__CLASS__IN_USE;
    error.message = "no";
    reply.body_case = SLUICE__REPLY__BODY_ERROR;
    reply.error = &error;
    text = convert_reply(&reply);
    assert_non_null(strstr(text, "\"class\": \"IN_USE\""));
    free(text);
}

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

/* --- packed messages from outside ------------------------------------------------------------- */

static void *packed(const Sluice__Request *message, size_t *size)
{
    *size = sluice__request__get_packed_size(message);
    uint8_t *data = malloc(*size + 1);
    sluice__request__pack(message, data);
    return data;
}

static int check(const void *data, size_t size, struct refusal *refusal)
{
    return check_wire(&sluice__request__descriptor, data, size, CHECK_CLIENT, refusal);
}

static void wire_refused(const char *data, size_t size, const char *field, const char *expected)
{
    struct refusal refusal = {0};
    assert_int_equal(check(data, size, &refusal), -EINVAL);
    if (!strstr(refusal.text, expected))
        fail_msg("refused with: %s", refusal.text);
    assert_string_equal(refusal.field, field);
}
#define WIRE_REFUSED(data, field, expected) wire_refused(data, sizeof data - 1, field, expected)

static void a_good_message_passes_the_check(void **state)
{
    (void)state;
    size_t size;
    Sluice__Request *message = request("node-add name=é driver=file a=b c=d reactor=1");
    message->id = 77;
    message->has_id = 1;
    void *data = packed(message, &size);
    struct refusal refusal;
    assert_int_equal(check(data, size, &refusal), 0);
    assert_int_equal(check_request_id(data, size), 77);
    free(data);
    done(message);
}

static void bad_wire_data_is_refused_with_the_field(void **state)
{
    (void)state;
    WIRE_REFUSED("\x08", "", "ends in mid-field");
    WIRE_REFUSED("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "", "ends in mid-field");
    WIRE_REFUSED("\x00\x01", "", "ends in mid-field");
    WIRE_REFUSED("\x0b", "", "ends in mid-field");
    WIRE_REFUSED("\x52\x7f", "", "ends in mid-field");
    WIRE_REFUSED("\x98\x3f\x01", "", "has no field number 1011");
    WIRE_REFUSED("\x0a\x00", "id", "id is not of its type");
    WIRE_REFUSED("\x08\x01\x08\x02", "id", "id is given 2 times");
    WIRE_REFUSED("\x12\x00\x5a\x00", "node_list", "more than one body");
    WIRE_REFUSED("\x52\x03\x0a\x01x", "driver", "node_add needs driver, which is missing");
    WIRE_REFUSED("\x52\x06\x0a\x01\xff\x12\x01x", "name", "name is not text in UTF-8");
    WIRE_REFUSED("\x52\x06\x0a\x01\x00\x12\x01x", "name", "name is not text in UTF-8");
    WIRE_REFUSED("\x52\x0c\x0a\x01n\x12\x01x\x20\x80\x80\x80\x80\x10", "reactor",
                 "reactor is out of its type's range");
    WIRE_REFUSED("\xa2\x01\x05\x0a\x01x\x18\x02", "read_only", "out of its type's range");
    WIRE_REFUSED("\x12\x02\x08\x01", "", "status has no field number 1");
}

static void too_many_values_are_refused(void **state)
{
    (void)state;
    struct refusal refusal;
    size_t n = CHECK_VALUES + 1, size = 0;
    uint8_t *data = malloc(n * 8 + 32), *body = malloc(n * 8 + 16);
    memcpy(body, "\x0a\x01n\x12\x01x", 6);
    size = 6;
    for (size_t i = 0; i < n; i++, size += 8)
        memcpy(body + size, "\x7a\x06\x0a\x01k\x12\x01v", 8);
    size_t at = 0;
    data[at++] = 0x52;
    for (size_t left = size;; left >>= 7) {
        data[at++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
        if (left <= 0x7f)
            break;
    }
    memcpy(data + at, body, size);
    assert_int_equal(check(data, at + size, &refusal), -EINVAL);
    assert_string_equal(refusal.text, "node_add: options has 4097 values; 4096 are the most");
    free(data);
    free(body);
}

static void every_truncation_is_refused_or_reads_as_a_message(void **state)
{
    (void)state;
    size_t size;
    Sluice__Request *message = request("export-add type=nbd backend=b unix=/x port=1 id=i name=n");
    uint8_t *data = packed(message, &size);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = malloc(cut + 1); /* on the heap: sanitizers see a read beyond */
        memcpy(part, data, cut);
        if (check(part, cut, NULL) == 0) {
            Sluice__Request *again = sluice__request__unpack(NULL, cut, part);
            assert_non_null(again);
            done(again);
        }
        free(part);
    }
    free(data);
    done(message);
}

/* xorshift: the seed is printed when something fails, and replays it. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void what_passes_the_check_unpacks_whatever_the_bytes(void **state)
{
    (void)state;
    uint64_t seed = 0x9e3779b97f4a7c15, random = seed;
    size_t size, passed = 0;
    Sluice__Request *message = request("node-add name=n driver=file a=b child=c reactor=3");
    uint8_t *good = packed(message, &size);
    for (unsigned round = 0; round < 200000; round++) {
        uint8_t data[64];
        size_t n = size;
        if (round % 2) {
            memcpy(data, good, size);
            for (unsigned flips = next_random(&random) % 4; flips < 4; flips++)
                data[next_random(&random) % size] ^= (uint8_t)(1u << next_random(&random) % 8);
        } else {
            n = next_random(&random) % sizeof data;
            for (size_t i = 0; i < n; i++)
                data[i] = (uint8_t)next_random(&random);
        }
        struct refusal refusal = {0};
        check_request_id(data, n);
        if (check(data, n, &refusal)) {
            assert_true(refusal.text[0]);
            assert_true(check_utf8(refusal.text, strlen(refusal.text)));
            continue;
        }
        passed++;
        Sluice__Request *again = sluice__request__unpack(NULL, n, data);
        if (!again)
            fail_msg("round %u of seed %llx passed the check, but does not unpack", round,
                     (unsigned long long)seed);
        struct json_object *object = convert_to_json(&again->base);
        json_object_put(object);
        done(again);
    }
    assert_true(passed > 100);
    free(good);
    done(message);
}

static void what_a_newer_server_sends_is_read(void **state)
{
    (void)state;
    static const char data[] = "\x08\x05\x1a\x00\x98\x3f\x01";
    struct refusal refusal;
    Sluice__Reply *reply =
        check_unpack(&sluice__reply__descriptor, data, sizeof data - 1, CHECK_SERVER, &refusal);
    assert_non_null(reply);
    assert_int_equal(reply->id, 5);
    assert_int_equal(reply->body_case, SLUICE__REPLY__BODY_DONE);
    sluice__reply__free_unpacked(reply, NULL);
}

/* --- what people are shown -------------------------------------------------------------------- */

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
        cmocka_unit_test(sizes_are_exact_and_checked_for_overflow),
        cmocka_unit_test(durations_are_exact_and_checked_for_overflow),
        cmocka_unit_test(switches_take_the_usual_words),
        cmocka_unit_test(what_is_written_reads_as_the_same_number),
        cmocka_unit_test(durations_are_printed_for_people),
        cmocka_unit_test(sizes_are_shown_with_their_unit),
        cmocka_unit_test(one_word_or_two_name_the_same_request),
        cmocka_unit_test(a_bare_word_fills_the_first_required_field),
        cmocka_unit_test(dash_and_underscore_are_the_same_in_names),
        cmocka_unit_test(unknown_keys_are_the_drivers_options),
        cmocka_unit_test(refusals_name_the_field_and_what_would_do),
        cmocka_unit_test(overlong_texts_are_refused),
        cmocka_unit_test(commas_separate_and_doubled_ones_stand_for_one),
        cmocka_unit_test(bytes_are_text_or_base64),
        cmocka_unit_test(base64_goes_there_and_back),
        cmocka_unit_test(json_values_are_bounded_and_typed),
        cmocka_unit_test(messages_survive_the_way_through_json),
        cmocka_unit_test(replies_leave_out_what_is_not_set_but_show_defaults),
        cmocka_unit_test(yaml_and_json_hold_the_same_requests),
        cmocka_unit_test(null_is_a_driver_and_an_empty_body),
        cmocka_unit_test(json_escapes_beyond_16_bits_are_read),
        cmocka_unit_test(an_empty_file_asks_nothing),
        cmocka_unit_test(refusals_of_a_file_tell_the_line),
        cmocka_unit_test(a_file_of_too_many_values_or_bytes_is_refused),
        cmocka_unit_test(a_good_message_passes_the_check),
        cmocka_unit_test(bad_wire_data_is_refused_with_the_field),
        cmocka_unit_test(too_many_values_are_refused),
        cmocka_unit_test(every_truncation_is_refused_or_reads_as_a_message),
        cmocka_unit_test(what_passes_the_check_unpacks_whatever_the_bytes),
        cmocka_unit_test(what_a_newer_server_sends_is_read),
        cmocka_unit_test(every_field_has_a_comment_for_help),
        cmocka_unit_test(help_tells_every_field_type_and_default),
        cmocka_unit_test(a_table_has_the_columns_that_tell_something),
        cmocka_unit_test(one_object_is_a_block),
        cmocka_unit_test(an_event_is_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
