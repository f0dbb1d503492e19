/* units.h — sizes, durations and switches as people write them.
 *
 * All of it is exact: no floating point, nothing wraps. The text must be used up; white space is
 * not skipped. Functions return 0, -EINVAL for a text of the wrong form, or -ERANGE for a value
 * that does not fit, and leave the result alone then; the caller, who knows what was asked, makes
 * the sentence. */
#ifndef SLUICE_UNITS_H
#define SLUICE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a sentence can say a value of the wrong form should have looked like. */
#define UNITS_SIZE_FORM                                                                            \
    "a whole number of bytes, or a number with K, M, G, T, P or E (powers of 1024)"
#define UNITS_DURATION_FORM "a number of seconds, or one with ns, us, ms, s, m or h"
#define UNITS_SWITCH_FORM   "on or off"

/* "4096", "512B", "0x1000", "64K", "64KiB", "1.5G" (suffixes in either case). A number of bytes is
 * whole: "1.5" and "1.5B" are of the wrong form; what a fraction of a larger unit leaves below one
 * byte is dropped. What KB means is disputed, so it is refused. */
int units_parse_size(const char *text, uint64_t *bytes);

/* As units_parse_size, with a minus sign allowed. */
int units_parse_signed(const char *text, int64_t *value);

/* "250us", "1.5s", "2" (seconds), "10m", "1h" (in this case only); in nanoseconds, and a number of
 * those is whole; what a fraction of a larger unit leaves below one is dropped. */
int units_parse_duration(const char *text, uint64_t *ns);

/* "on", "yes", "true", "1"; "off", "no", "false", "0"; in either case. */
int units_parse_switch(const char *text, bool *on);

/* Writes a size for people: "512 B", "64 KiB", "1.5 GiB", with one decimal place at most and, when
 * that is not the whole truth, "~" before it. Returns `out`. */
#define UNITS_TEXT 24
char *units_print_size(uint64_t bytes, char out[UNITS_TEXT]);

/* Write a number as it could have been given, and exactly: "512B", "1536M", "1T"; "1500us", "2m".
 * Return `out`. */
char *units_write_size(uint64_t bytes, char out[UNITS_TEXT]);
char *units_write_duration(uint64_t ns, char out[UNITS_TEXT]);

/* Writes a duration for people: "0", "512 ns", "31.4 us", "1.25 s", with three digits at least and
 * as many as the whole part has. Returns `out`. */
char *units_print_duration(uint64_t ns, char out[UNITS_TEXT]);

#endif
