/* refusal.h — why a text or a message from outside was not taken.
 *
 * Filled in once, where the facts are known; whoever asked passes it on. */
#ifndef SLUICE_REFUSAL_H
#define SLUICE_REFUSAL_H

struct refusal {
    char field[64]; /* the field that is wrong, or "" */
    char text[464]; /* a sentence for people */
};

/* Fills in `refusal` (which may be null). `field` may be null. Returns -EINVAL. */
int refusal_set(struct refusal *refusal, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
