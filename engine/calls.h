/* calls.h — replies that are awaited, by correlation: slot and generation. */
#ifndef SLUICE_CALLS_H
#define SLUICE_CALLS_H

#include <stdbool.h>
#include <stdint.h>

typedef void call_fn(void); /* cast to and from what the owner really calls */

struct call {
    uint32_t generation;
    bool used;
    call_fn *fn;
    void *arg;
};

struct calls {
    struct call *slots;
    uint32_t count;
};

/* Never 0. */
uint64_t calls_add(struct calls *calls, call_fn *fn, void *arg);
/* False for one that is not awaited (late or doubled). */
bool calls_take(struct calls *calls, uint64_t correlation, call_fn **fn, void **arg);
void calls_fini(struct calls *calls);

#endif
