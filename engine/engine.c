#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "engine/mem.h"
#include "engine/port.h"
#include "engine/random.h"
#include "engine/reactor_impl.h"

static int choose_cpus(const struct engine_options *options, unsigned *threads, int *cpus,
                       struct err *err)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return err_set(err, -errno, "the CPUs that this process may run on can't be read: %s",
                       strerror(errno));
    unsigned count = (unsigned)CPU_COUNT(&allowed);
    if (!*threads)
        *threads = count < ENGINE_THREADS_MAX ? count : ENGINE_THREADS_MAX;
    if (*threads > ENGINE_THREADS_MAX)
        return err_field(err, "threads", -EINVAL, "%u threads were asked for; %d is the most",
                         *threads, ENGINE_THREADS_MAX);
    if (!options->stepped && !options->cpus && *threads > count)
        return err_field(
            err, "threads", -EINVAL,
            "%u threads were asked for, but this process may run on %u CPU%s only: ask "
            "for at most %u, or allow it more (taskset, cpuset)",
            *threads, count, count == 1 ? "" : "s", count);
    int cpu = 0;
    for (unsigned i = 0; i < *threads; i++) {
        if (options->cpus) {
            cpus[i] = options->cpus[i];
            if (cpus[i] < 0 || cpus[i] >= CPU_SETSIZE || !CPU_ISSET(cpus[i], &allowed))
                return err_field(err, "cpus", -EINVAL,
                                 "reactor %u was asked to run on CPU %d, on which this process may "
                                 "not run",
                                 i, cpus[i]);
            continue;
        }
        while (!options->stepped && !CPU_ISSET(cpu, &allowed))
            cpu++;
        cpus[i] = cpu++;
    }
    return 0;
}

struct engine *engine_new(const struct engine_options *options, struct err *err)
{
    unsigned threads = options->threads;
    int cpus[ENGINE_THREADS_MAX] = {0};
    if (choose_cpus(options, &threads, cpus, err) < 0)
        return NULL;
    struct engine *engine = MEM_NEW(struct engine);
    engine->options = *options;
    engine->clock = (struct clock){options->stepped, NS_PER_S};
    engine->random = options->seed * 2 + 1;
    engine->next_peer = 1;
    directory_init(&engine->mesh.directory);
    engine->mesh.bodies = options->bodies;
    engine->mesh.nbodies = options->nbodies;
    pthread_mutex_init(&engine->ports_lock, NULL);
    engine->mesh.zmq = zmq_ctx_new();
    zmq_ctx_set(engine->mesh.zmq, ZMQ_IO_THREADS, 0); /* nothing here leaves the process */
    zmq_ctx_set(engine->mesh.zmq, ZMQ_MAX_SOCKETS, 16384);
    engine->reactors = mem_new(threads * sizeof(struct reactor *));
    for (unsigned i = 0; i < threads; i++) {
        engine->reactors[i] = reactor_new(engine, i, cpus[i], err);
        if (!engine->reactors[i]) {
            engine_free(&engine);
            return NULL;
        }
        engine->nreactors++;
        for (unsigned j = 0; j < i; j++) {
            struct peer *a = &engine->reactors[i]->peer, *b = &engine->reactors[j]->peer;
            struct link *ab, *ba;
            int ret = link_pair(engine->mesh.zmq, a, b, &ab, &ba);
            if (ret < 0) {
                err_set(err, ret, "the reactors could not be linked: %s", zmq_strerror(-ret));
                engine_free(&engine);
                return NULL;
            }
            peer_add_link(a, ab);
            peer_add_link(b, ba);
        }
        if (options->stepped)
            ring_enable(engine->reactors[i]->ring);
    }
    return engine;
}

int engine_start(struct engine *engine, struct err *err)
{
    if (engine->options.stepped)
        return 0;
    /* Signals are the program's business: its own threads take them. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int ret = 0;
    for (unsigned i = 0; ret == 0 && i < engine->nreactors; i++) {
        struct reactor *reactor = engine->reactors[i];
        ret = -pthread_create(&reactor->thread, NULL, reactor_main, reactor);
        reactor->started = ret == 0;
        if (ret < 0)
            err_set(err, ret, "reactor %u could not be started: %s", i, strerror(-ret));
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ret;
}

void engine_free(struct engine **self)
{
    struct engine *engine = *self;
    if (!engine)
        return;
    *self = NULL;
    /* Another thread may use one at this moment: there is no way to go on, and waiting would be for
     * ever. */
    unsigned open = atomic_load(&engine->ports_open);
    if (open) {
        fprintf(stderr,
                "sluice: the engine was stopped while %u context%s open: close contexts first, "
                "each by its owner\n",
                open, open == 1 ? " is" : "s are");
        abort();
    }
    unsigned threads = 0;
    for (unsigned i = 0; i < engine->nreactors; i++) {
        assert(engine->reactors[i]);
        threads += engine->reactors[i]->started;
    }
    if (threads)
        pthread_barrier_init(&engine->stopped, NULL, threads);
    for (unsigned i = 0; i < engine->nreactors; i++) {
        struct reactor *reactor = engine->reactors[i];
        atomic_store(&reactor->stop, true);
        peer_wake(&reactor->peer);
    }
    for (unsigned i = 0; i < engine->nreactors; i++) {
        struct reactor *reactor = engine->reactors[i];
        if (reactor->started) {
            pthread_join(reactor->thread, NULL);
        } else {
            reactor_enter(reactor);
            reactor_end(reactor);
            reactor_enter(NULL);
        }
    }
    if (threads)
        pthread_barrier_destroy(&engine->stopped);
    for (unsigned i = 0; i < engine->nreactors; i++)
        reactor_free(&engine->reactors[i]);
    port_free_all(engine);
    zmq_ctx_term(engine->mesh.zmq);
    directory_fini(&engine->mesh.directory);
    pthread_mutex_destroy(&engine->ports_lock);
    free(engine->reactors);
    free(engine);
}

unsigned engine_threads(const struct engine *engine)
{
    return engine->nreactors;
}

struct reactor *engine_reactor(const struct engine *engine, unsigned index)
{
    return engine->reactors[index];
}

struct mesh *engine_mesh(const struct engine *engine)
{
    return (struct mesh *)&engine->mesh;
}

uint64_t engine_now(const struct engine *engine)
{
    return clock_ns(&engine->clock);
}

/* --- Stepping
 * --------------------------------------------------------------------------------------- */

uint64_t engine_draw(struct engine *engine, uint64_t below)
{
    return random_next(&engine->random) % below;
}

static bool step_one(struct reactor *reactor)
{
    reactor_enter(reactor);
    bool any = reactor_turn(reactor);
    reactor_enter(NULL);
    return any;
}

bool engine_step(struct engine *engine)
{
    unsigned first = (unsigned)engine_draw(engine, engine->nreactors);
    for (unsigned i = 0; i < engine->nreactors; i++)
        if (step_one(engine->reactors[(first + i) % engine->nreactors]))
            return true;
    for (unsigned i = 0; i < engine->nreactors; i++)
        if (!reactor_idle(engine->reactors[i]))
            return true;
    return false;
}

void engine_settle(struct engine *engine)
{
    /* System calls may be under way that end by themselves: a few looks, a little apart. */
    for (int quiet = 0; quiet < 3;) {
        if (engine_step(engine)) {
            quiet = 0;
            continue;
        }
        quiet++;
        for (unsigned i = 0; i < engine->nreactors; i++) {
            struct reactor *reactor = engine->reactors[i];
            if (!ring_working(reactor->ring))
                continue;
            reactor_enter(reactor);
            if (ring_wait(reactor->ring, 5 * NS_PER_MS))
                quiet = 0;
            peer_flush(&reactor->peer);
            reactor_enter(NULL);
        }
    }
}

void engine_advance(struct engine *engine, uint64_t ns)
{
    uint64_t end = engine->clock.virtual_ns + ns;
    for (;;) {
        engine_settle(engine);
        uint64_t next = UINT64_MAX;
        for (unsigned i = 0; i < engine->nreactors; i++) {
            uint64_t deadline = timers_next(&engine->reactors[i]->timers);
            if (deadline < next)
                next = deadline;
        }
        if (next > end)
            break;
        if (next > engine->clock.virtual_ns)
            engine->clock.virtual_ns = next;
    }
    engine->clock.virtual_ns = end;
    engine_settle(engine);
}
