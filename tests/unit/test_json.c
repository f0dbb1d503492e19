/* Messages as JSON, and bytes as base64. */
#include "request_rig.h"

#include <json-c/json.h>

#include "proto/base64.h"
#include "proto/convert.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_text_or_base64),
        cmocka_unit_test(base64_goes_there_and_back),
        cmocka_unit_test(json_values_are_bounded_and_typed),
        cmocka_unit_test(messages_survive_the_way_through_json),
        cmocka_unit_test(replies_leave_out_what_is_not_set_but_show_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
