/* graph_keep.c — what the graph keeps of what it has begun, until it is answered: when the graph
 * ends by force, answers do not come any more. */
#include "actors/graph_impl.h"

#include <stdlib.h>

#include "engine/mem.h"

struct kept {
    struct kept *next, **at; /* where it hangs */
    void (*fini)(void *kept);
    _Alignas(16) unsigned char data[];
};

void *graph_keep(struct graph *graph, size_t size, void (*fini)(void *kept))
{
    struct kept *kept = mem_new(sizeof *kept + size);
    kept->fini = fini;
    kept->next = graph->kept;
    kept->at = &graph->kept;
    if (kept->next)
        kept->next->at = &kept->next;
    graph->kept = kept;
    return kept->data;
}

static void drop(struct kept *kept)
{
    if (kept->fini)
        kept->fini(kept->data);
    free(kept);
}

void graph_unkeep(void *data)
{
    struct kept *kept = (struct kept *)((unsigned char *)data - offsetof(struct kept, data));
    *kept->at = kept->next;
    if (kept->next)
        kept->next->at = kept->at;
    drop(kept);
}

void graph_keep_fini(struct graph *graph)
{
    struct kept *kept;
    while ((kept = graph->kept)) {
        graph->kept = kept->next;
        drop(kept);
    }
}
