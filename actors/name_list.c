#include "actors/name_list.h"

#include <stdio.h>

#define REST 24 /* bytes that are left for how many more there are */

/* One that does not fit is left out whole: what snprintf() says is what it would have written. */
void name_list_add(struct name_list *list, const char *kind, const char *name)
{
    char *at = list->text + list->used;
    size_t room = sizeof list->text - REST - list->used;
    size_t length = (size_t)snprintf(at, room, "%s%s%s'%s'", list->named ? ", " : "", kind,
                                     *kind ? " " : "", name);
    list->n++;
    if (length < room) {
        list->used += length;
        list->named++;
    } else {
        *at = '\0';
    }
}

unsigned name_list_end(struct name_list *list)
{
    if (list->n > list->named)
        snprintf(list->text + list->used, REST, "%s%u more", list->named ? " and " : "",
                 list->n - list->named);
    return list->n;
}
