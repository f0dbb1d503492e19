/* Messages on the heap. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/actor.h"
#include "engine/mem.h"

const Sluice__Fault *mail_fault(const struct mail *mail)
{
    return mail->kind == MAIL_FAULT ? (const Sluice__Fault *)mail->body : NULL;
}

void mail_fault_err(const struct mail *mail, struct err *err)
{
    const Sluice__Fault *fault = mail_fault(mail);
    if (fault)
        err_field(err, fault->field ? fault->field : "", fault->code, "%s", fault->text);
}

void *mail_fault_body(const struct err *err)
{
    Sluice__Fault *fault = MAIL_NEW(sluice__fault);
    fault->code = err->code ? err->code : -EIO;
    mail_set(&fault->text, err->text);
    if (err->field[0])
        mail_set(&fault->field, err->field);
    return fault;
}

void *mail_new(const ProtobufCMessageDescriptor *descriptor)
{
    void *message = mem_new(descriptor->sizeof_message);
    protobuf_c_message_init(descriptor, message);
    return message;
}

void mail_free_body(void *body)
{
    if (body)
        protobuf_c_message_free_unpacked(body, NULL);
}

void *mail_copy(const void *body)
{
    size_t size = protobuf_c_message_get_packed_size(body);
    unsigned char *packed = mem_new(size);
    protobuf_c_message_pack(body, packed);
    void *copy =
        protobuf_c_message_unpack(((const ProtobufCMessage *)body)->descriptor, NULL, size, packed);
    free(packed);
    if (!copy)
        abort();
    return copy;
}

void mail_set(char **field, const char *text)
{
    *field = mem_string(text);
}
