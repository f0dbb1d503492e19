#include "engine/err.h"

#include <stdarg.h>
#include <stdio.h>

static int fill(struct err *err, const char *field, int code, const char *format, va_list args)
{
    if (err) {
        err->code = code;
        snprintf(err->field, sizeof err->field, "%s", field);
        vsnprintf(err->text, sizeof err->text, format, args);
    }
    return code;
}

int err_set(struct err *err, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, "", code, format, args);
    va_end(args);
    return code;
}

int err_field(struct err *err, const char *field, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, field, code, format, args);
    va_end(args);
    return code;
}
