#include "proto/docs.h"

#include <string.h>

const char *docs_find(const char *message, const char *field)
{
    for (const struct docs_entry *entry = docs_entries; entry->message; entry++)
        if (strcmp(entry->message, message) == 0 && strcmp(entry->field, field ? field : "") == 0)
            return entry->text;
    return NULL;
}
