/* reply.h — making replies to control requests. They are on the heap: give them to mail, or free
 * them with mail_free_body(). */
#ifndef SLUICE_REPLY_H
#define SLUICE_REPLY_H

#include "control.pb-c.h"
#include "engine/err.h"

Sluice__Reply *reply_done(void);

/* An error; `field` may be null, `code` is 0 or a negative errno. The sentence says what was asked,
 * what is wrong, and what to do. */
Sluice__Reply *reply_error(Sluice__Error__Class kind, const char *field, int code,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The error that `err` tells of, its class by its errno. */
Sluice__Reply *reply_err(const struct err *err);

#endif
