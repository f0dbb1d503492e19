/* name_list.h — names in a sentence: as many as it has room for, and how many more there are. */
#ifndef SLUICE_NAME_LIST_H
#define SLUICE_NAME_LIST_H

#include <stddef.h>

struct name_list { /* all zeroes at first */
    char text[300];
    size_t used;
    unsigned n, named; /* added, and of them those in the text */
};

/* Adds "KIND 'NAME'"; without a kind, which is "" then, "'NAME'". */
void name_list_add(struct name_list *list, const char *kind, const char *name);
/* All are in. Returns how many. */
unsigned name_list_end(struct name_list *list);

#endif
