#include "actors/reply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/actor.h"

static Sluice__Error__Class class_of(int code)
{
    static const struct {
        int code;
        Sluice__Error__Class kind;
    } table[] = {
        {-ENOENT, SLUICE__ERROR__CLASS__NOT_FOUND},
        {-ENXIO, SLUICE__ERROR__CLASS__NOT_FOUND},
        {-EEXIST, SLUICE__ERROR__CLASS__EXISTS},
        {-EADDRINUSE, SLUICE__ERROR__CLASS__IN_USE},
        {-EBUSY, SLUICE__ERROR__CLASS__IN_USE},
        {-EINVAL, SLUICE__ERROR__CLASS__INVALID},
        {-ERANGE, SLUICE__ERROR__CLASS__INVALID},
        {-ENAMETOOLONG, SLUICE__ERROR__CLASS__INVALID},
        {-ENOTSUP, SLUICE__ERROR__CLASS__UNSUPPORTED},
        {-ENOTTY, SLUICE__ERROR__CLASS__UNSUPPORTED},
        {-ESHUTDOWN, SLUICE__ERROR__CLASS__SHUTDOWN},
        {-EPERM, SLUICE__ERROR__CLASS__DENIED},
        {-EACCES, SLUICE__ERROR__CLASS__DENIED},
        {-EROFS, SLUICE__ERROR__CLASS__DENIED},
        {-ENOBUFS, SLUICE__ERROR__CLASS__LIMIT},
        {-EMFILE, SLUICE__ERROR__CLASS__LIMIT},
        {-EAGAIN, SLUICE__ERROR__CLASS__LIMIT},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].code == code)
            return table[i].kind;
    return SLUICE__ERROR__CLASS__IO;
}

Sluice__Reply *reply_done(void)
{
    Sluice__Reply *reply = MAIL_NEW(sluice__reply);
    reply->body_case = SLUICE__REPLY__BODY_DONE;
    reply->done = MAIL_NEW(sluice__empty);
    return reply;
}

static Sluice__Reply *make(Sluice__Error__Class kind, const char *field, int code, const char *text)
{
    Sluice__Reply *reply = MAIL_NEW(sluice__reply);
    Sluice__Error *error = MAIL_NEW(sluice__error);
    error->class_ = kind;
    mail_set(&error->message, text);
    if (field && *field)
        mail_set(&error->field, field);
    error->has_errno_value = 1;
    error->errno_value = -code;
    reply->body_case = SLUICE__REPLY__BODY_ERROR;
    reply->error = error;
    return reply;
}

Sluice__Reply *reply_error(Sluice__Error__Class kind, const char *field, int code,
                           const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return make(kind, field, code, text);
}

Sluice__Reply *reply_err(const struct err *err)
{
    return make(class_of(err->code), err->field, err->code, err->text);
}
