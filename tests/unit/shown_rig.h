/* shown_rig.h — what a whole stepped engine shows, as tests look at it again and again. */
#ifndef SHOWN_RIG_H
#define SHOWN_RIG_H

#include "stack_rig.h"

#include <stdio.h>

#include "drivers/driver.h"

#define MIB (INT64_C(1) << 20)

/* Backend `b`. */
const Sluice__BackendInfo *shown(void);
/* A list of words, with commas; valid until the call after the next one. */
const char *shown_words(char *const *list, size_t n);
/* What a mock was sent last; "" for nothing. */
const char *shown_last_sent(const char *mock);
/* All that it was sent from the one with this number on, counted from 1: "write 0+512, read 0+512".
 */
const char *shown_sent(const char *mock, unsigned first);
/* The number of the newest event. */
uint64_t shown_sequence(void);
/* The newest event with this body, or null. */
const Sluice__Event *shown_event(Sluice__Event__BodyCase body);

#endif
