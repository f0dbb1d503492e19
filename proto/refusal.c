#include "proto/refusal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A sentence that was cut must not end in half a character: it goes into protobuf strings. */
static void trim_utf8(char *text)
{
    size_t length = strlen(text), start = length;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (length - (start - 1) < need)
        text[start - 1] = '\0';
}

int refusal_set(struct refusal *refusal, const char *field, const char *format, ...)
{
    if (refusal) {
        va_list args;
        va_start(args, format);
        vsnprintf(refusal->text, sizeof refusal->text, format, args);
        va_end(args);
        snprintf(refusal->field, sizeof refusal->field, "%s", field ? field : "");
        trim_utf8(refusal->text);
        trim_utf8(refusal->field);
    }
    return -EINVAL;
}
