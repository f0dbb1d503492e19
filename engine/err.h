/* err.h — an error told once, where the facts are known.
 *
 * Functions that can fail because of what a user did take a `struct err *` last, return a negative
 * errno and fill in a sentence: what was asked, what is wrong, what to do. */
#ifndef SLUICE_ERR_H
#define SLUICE_ERR_H

struct err {
    int code;       /* negative errno; 0 while nothing went wrong */
    char field[48]; /* the field or option that is wrong, or "" */
    char text[464]; /* a sentence for people */
};

/* Fills in `err` (which may be null) and returns `code`. */
int err_set(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set, and names the field that is wrong. */
int err_field(struct err *err, const char *field, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
