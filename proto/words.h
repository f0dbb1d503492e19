/* words.h — requests as words: how they are written on a command line.
 *
 * "node-add driver=null name=n", "node add driver=null name=n" and "node add n driver=null" are the
 * same request: a request is named by one word or by two, and a word without `=` is the value of
 * the first required field that has none yet. */
#ifndef SLUICE_WORDS_H
#define SLUICE_WORDS_H

#include <stddef.h>

#include "control.pb-c.h"
#include "proto/refusal.h"

struct words {
    char **word;
    size_t n;
};

/* Splits at blanks. '…' keeps what is in it, "…" too but for \" and \\, and \ keeps the next
 * character. */
int words_split(const char *line, struct words *words, struct refusal *refusal);

/* Splits at commas; a doubled comma stands for one. */
void words_split_commas(const char *text, struct words *words);

void words_free(struct words *words);

/* The field of Request's body that the first words name, and how many they are; null with a refusal
 * that tells the known ones. */
const ProtobufCFieldDescriptor *words_request_name(char *const *words, size_t n, size_t *used,
                                                   struct refusal *refusal);

/* The request with this body, of `key=value` words; null with a refusal. Free with
 * sluice__request__free_unpacked(request, NULL). */
Sluice__Request *words_request(const ProtobufCFieldDescriptor *body, char *const *words, size_t n,
                               struct refusal *refusal);

/* The request that a whole line names and describes. */
Sluice__Request *words_request_line(const char *line, struct refusal *refusal);

#endif
