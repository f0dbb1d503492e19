/* docs.h — the comments of the .proto files at run time: help is made from them.
 *
 * The table is made by docs.awk when the programs are built. */
#ifndef SLUICE_DOCS_H
#define SLUICE_DOCS_H

#include <stddef.h>

struct docs_entry {
    const char *message; /* full name of a message or enum: "sluice.NodeAdd" */
    const char *field;   /* a field or value of it; "" for itself */
    const char *text;
};

/* Ends with an entry of null pointers. */
extern const struct docs_entry docs_entries[];

/* The comment, or null. `field` is null for the message itself. */
const char *docs_find(const char *message, const char *field);

#endif
