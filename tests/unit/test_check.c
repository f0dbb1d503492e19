/* Packed messages from outside: what is no message is refused before it is unpacked. */
#include "request_rig.h"

#include <json-c/json.h>

#include "proto/check.h"
#include "proto/convert.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_message_passes_the_check),
        cmocka_unit_test(bad_wire_data_is_refused_with_the_field),
        cmocka_unit_test(too_many_values_are_refused),
        cmocka_unit_test(every_truncation_is_refused_or_reads_as_a_message),
        cmocka_unit_test(what_passes_the_check_unpacks_whatever_the_bytes),
        cmocka_unit_test(what_a_newer_server_sends_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
