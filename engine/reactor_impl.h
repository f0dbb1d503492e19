/* reactor_impl.h — what reactor.c, actor.c and engine.c share; not for others. */
#ifndef SLUICE_REACTOR_IMPL_H
#define SLUICE_REACTOR_IMPL_H

#include <pthread.h>

#include "engine/calls.h"
#include "engine/clock.h"
#include "engine/engine.h"
#include "engine/peer.h"
#include "engine/reactor.h"
#include "engine/way.h"

#define ACTOR_DEPTH 24 /* submits that may be nested before the rest waits for the run queue */

struct order {
    uint32_t ops : OP_SEQUENCE_BITS;
    uint32_t mail; /* the next that is due */
};

struct actor {
    const struct actor_type *type;
    char *name;
    actor_addr address;
    struct engine *engine;
    struct reactor *reactor;
    struct actor *next_run;
    bool runnable, born, stopping, running;
    int moving; /* the reactor that it is to move to, or -1 */
    struct mail *mail, **mail_tail;
    struct op_queue ops; /* beyond the depth */
    struct op_queue early_ops;
    struct mail *early_mail;
    struct order order[PEERS_MAX];
    struct calls calls;
    struct ticket *asked; /* of the requests that it was handed, and has not answered */
    size_t nasked, asked_room;
    struct work adopt;
    _Alignas(16) unsigned char state[];
};

struct reactor {
    struct peer peer; /* first */
    struct engine *engine;
    unsigned id;
    pthread_t thread;
    bool started;
    struct timers timers;
    struct ring *ring;
    struct buffers buffers;
    uint64_t now;
    struct actor **present; /* by slot */
    struct actor *run, **run_tail;
    struct turn_hook *hooks, **hooks_tail;
    struct mail *limbo_mail; /* for actors that are on their way here */
    struct op_queue limbo_ops;
    unsigned depth;
    pthread_mutex_t inbox_lock;
    struct work *inbox, **inbox_tail;
    _Atomic unsigned inbox_count;
    _Atomic bool stop;
    struct ring_req bell;
    bool bell_armed, bell_rang;
    uint64_t spin_ns;
    struct way way;
    struct reactor_stats stats;
};

struct engine {
    struct mesh mesh;
    struct clock clock;
    struct engine_options options;
    unsigned nreactors;
    pthread_barrier_t stopped; /* all threads run no handler any more */
    struct reactor **reactors;
    uint64_t random;
    _Atomic unsigned ports_open;
    pthread_mutex_t ports_lock;
    struct port *ports; /* closed ones, to be used again */
    unsigned next_peer;
};

extern const struct peer_local actor_local;
void reactor_enter(struct reactor *reactor);
struct reactor *reactor_new(struct engine *engine, unsigned id, int cpu, struct err *err);
void reactor_free(struct reactor **reactor);
void *reactor_main(void *reactor);
static inline bool reactor_stopping(const struct reactor *reactor)
{
    return atomic_load_explicit(&reactor->stop, memory_order_acquire);
}
/* On the reactor's thread, when all reactors are stopping and no handler runs on any: ends what is
 * here and on its way here. */
void reactor_end(struct reactor *reactor);
/* One turn; in a stepped engine a part, drawn from its seed. True when something was done. */
bool reactor_turn(struct reactor *reactor);
bool reactor_idle(struct reactor *reactor);
void actor_make_runnable(struct actor *actor);
void actor_run(struct actor *actor);
void actor_destroy_all(struct reactor *reactor);
uint64_t engine_draw(struct engine *engine, uint64_t below);

#endif
