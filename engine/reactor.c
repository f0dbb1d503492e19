#include "engine/reactor.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "engine/mem.h"
#include "engine/reactor_impl.h"

#define SPIN_MIN (2 * NS_PER_US)
#define SPIN_MAX (50 * NS_PER_US)

static _Thread_local struct reactor *here;

struct reactor *reactor_here(void)
{
    return here;
}

void reactor_enter(struct reactor *reactor)
{
    here = reactor;
}

unsigned reactor_id(const struct reactor *reactor)
{
    return reactor->id;
}

uint64_t reactor_now(const struct reactor *reactor)
{
    return reactor->now;
}

struct timers *reactor_timers(struct reactor *reactor)
{
    return &reactor->timers;
}

struct ring *reactor_ring(struct reactor *reactor)
{
    return reactor->ring;
}

struct buffers *reactor_buffers(struct reactor *reactor)
{
    return &reactor->buffers;
}

const struct reactor_stats *reactor_stats(struct reactor *reactor)
{
    reactor->stats.frames = reactor->peer.frames;
    reactor->stats.requests = reactor->peer.requests;
    return &reactor->stats;
}

/* --- Life
 * ------------------------------------------------------------------------------------------- */

struct reactor *reactor_new(struct engine *engine, unsigned id, int cpu, struct err *err)
{
    struct ring *ring = ring_new(err);
    if (!ring)
        return NULL;
    struct reactor *reactor = mem_aligned(64, sizeof *reactor);
    int ret = peer_init(&reactor->peer, &engine->mesh, engine->next_peer++, &actor_local);
    if (ret < 0) {
        err_set(
            err, ret,
            "a reactor's doorbell could not be made: %s; raise the limit on open files (ulimit -n)",
            strerror(-ret));
        peer_fini(&reactor->peer);
        free(reactor);
        ring_free(&ring);
        return NULL;
    }
    reactor->engine = engine;
    reactor->id = id;
    reactor->ring = ring;
    reactor->stats.cpu = cpu;
    buffers_init(&reactor->buffers);
    reactor->present = mem_new(DIRECTORY_SLOTS * sizeof *reactor->present);
    reactor->run_tail = &reactor->run;
    reactor->hooks_tail = &reactor->hooks;
    op_queue_init(&reactor->limbo_ops);
    pthread_mutex_init(&reactor->inbox_lock, NULL);
    reactor->inbox_tail = &reactor->inbox;
    reactor->now = clock_ns(&engine->clock);
    return reactor;
}

void reactor_free(struct reactor **self)
{
    struct reactor *reactor = *self;
    if (!reactor)
        return;
    *self = NULL;
    ring_free(&reactor->ring);
    peer_fini(&reactor->peer);
    timers_fini(&reactor->timers);
    buffers_fini(&reactor->buffers);
    pthread_mutex_destroy(&reactor->inbox_lock);
    free(reactor->present);
    free(reactor);
}

/* --- Foreign inbox
 * ---------------------------------------------------------------------------------- */

void reactor_post(struct reactor *reactor, struct work *work)
{
    work->next = NULL;
    pthread_mutex_lock(&reactor->inbox_lock);
    *reactor->inbox_tail = work;
    reactor->inbox_tail = &work->next;
    atomic_fetch_add_explicit(&reactor->inbox_count, 1, memory_order_seq_cst);
    pthread_mutex_unlock(&reactor->inbox_lock);
    peer_ring(&reactor->peer);
}

static bool run_inbox(struct reactor *reactor)
{
    if (!atomic_load_explicit(&reactor->inbox_count, memory_order_acquire))
        return false;
    pthread_mutex_lock(&reactor->inbox_lock);
    struct work *work = reactor->inbox;
    reactor->inbox = NULL;
    reactor->inbox_tail = &reactor->inbox;
    atomic_store_explicit(&reactor->inbox_count, 0, memory_order_relaxed);
    pthread_mutex_unlock(&reactor->inbox_lock);
    while (work) {
        struct work *next = work->next;
        work->run(work, reactor);
        work = next;
    }
    return true;
}

/* --- Turn-end hooks
 * --------------------------------------------------------------------------------- */

void reactor_at_turn_end(struct reactor *reactor, struct turn_hook *hook)
{
    if (hook->queued)
        return;
    hook->queued = true;
    hook->next = NULL;
    *reactor->hooks_tail = hook;
    reactor->hooks_tail = &hook->next;
}

void reactor_forget(struct reactor *reactor, struct turn_hook *hook)
{
    if (!hook->queued)
        return;
    struct turn_hook **at = &reactor->hooks;
    while (*at != hook)
        at = &(*at)->next;
    *at = hook->next;
    if (!*at)
        reactor->hooks_tail = at;
    hook->queued = false;
}

static bool run_hooks(struct reactor *reactor)
{
    bool any = false;
    struct turn_hook *hook;
    while ((hook = reactor->hooks)) {
        reactor->hooks = hook->next;
        if (!reactor->hooks)
            reactor->hooks_tail = &reactor->hooks;
        hook->queued = false;
        hook->run(hook);
        any = true;
    }
    return any;
}

/* --- A turn
 * ----------------------------------------------------------------------------------------- */

static struct actor *next_actor(struct reactor *reactor, unsigned skip)
{
    struct actor **at = &reactor->run;
    while (skip-- && (*at)->next_run)
        at = &(*at)->next_run;
    struct actor *actor = *at;
    *at = actor->next_run;
    if (!*at)
        reactor->run_tail = at;
    actor->runnable = false;
    return actor;
}

static bool run_actors(struct reactor *reactor)
{
    if (!reactor->run)
        return false;
    if (reactor->engine->options.stepped) {
        actor_run(next_actor(reactor, (unsigned)engine_draw(reactor->engine, 4)));
        return true;
    }
    /* Those that become runnable meanwhile wait for the next turn. */
    unsigned count = 0;
    for (struct actor *actor = reactor->run; actor; actor = actor->next_run)
        count++;
    while (count-- && reactor->run)
        actor_run(next_actor(reactor, 0));
    return true;
}

static bool take_frames(struct reactor *reactor)
{
    struct peer *peer = &reactor->peer;
    if (!reactor->engine->options.stepped)
        return peer_take(peer, NULL, UINT32_MAX) > 0;
    if (!peer->nlinked)
        return false;
    struct link *link = peer->linked[engine_draw(reactor->engine, peer->nlinked)];
    return peer_take(peer, link, 1 + (unsigned)engine_draw(reactor->engine, 3)) > 0;
}

bool reactor_turn(struct reactor *reactor)
{
    reactor->now = clock_ns(&reactor->engine->clock);
    reactor->stats.turns++;
    bool any = run_inbox(reactor);
    any |= take_frames(reactor);
    any |= ring_turn(reactor->ring) > 0;
    if (reactor->timers.count)
        any |= timers_run(&reactor->timers, reactor->now) > 0;
    any |= run_actors(reactor);
    any |= run_hooks(reactor);
    peer_flush(&reactor->peer);
    return any;
}

bool reactor_idle(struct reactor *reactor)
{
    return !reactor->run && !reactor->hooks && !peer_ready(&reactor->peer) &&
           !atomic_load_explicit(&reactor->inbox_count, memory_order_seq_cst);
}

/* --- Sleeping
 * --------------------------------------------------------------------------------------- */

static void bell_done(struct ring_req *req, int res)
{
    (void)res;
    struct reactor *reactor = (struct reactor *)((char *)req - offsetof(struct reactor, bell));
    reactor->bell_armed = false;
    reactor->bell_rang = true;
}

static void arm_bell(struct reactor *reactor)
{
    if (reactor->bell_armed)
        return;
    reactor->bell_armed = true;
    reactor->bell.done = bell_done;
    ring_poll_once(reactor->ring, &reactor->bell, reactor->peer.doorbell);
}

static bool spin(struct reactor *reactor)
{
    uint64_t start = clock_ns(&reactor->engine->clock), now;
    if (timers_next(&reactor->timers) < start + 100 * NS_PER_US)
        return false;
    do {
        for (int i = 0; i < 16; i++) {
            if (peer_ready(&reactor->peer) ||
                atomic_load_explicit(&reactor->inbox_count, memory_order_relaxed))
                return true;
            __builtin_ia32_pause();
        }
        if (ring_turn(reactor->ring))
            return true;
        now = clock_ns(&reactor->engine->clock);
        way_give(&reactor->way, now);
    } while (now - start < reactor->spin_ns);
    return false;
}

/* Spinning pays when other threads write often: the budget grows when a sleep was short and ended
 * by the doorbell, and shrinks to nothing when spinning was in vain. */
static void rest(struct reactor *reactor)
{
    if (reactor->spin_ns) {
        if (spin(reactor))
            return;
        reactor->spin_ns = reactor->spin_ns / 2 < SPIN_MIN ? 0 : reactor->spin_ns / 2;
    }
    arm_bell(reactor);
    if (!peer_sleep(&reactor->peer) ||
        atomic_load_explicit(&reactor->inbox_count, memory_order_seq_cst)) {
        peer_awake(&reactor->peer);
        return;
    }
    uint64_t start = clock_ns(&reactor->engine->clock), next = timers_next(&reactor->timers);
    reactor->stats.parks++;
    reactor->bell_rang = false;
    ring_wait(reactor->ring, next == UINT64_MAX ? UINT64_MAX : next > start ? next - start : 0);
    peer_awake(&reactor->peer);
    if (reactor->bell_rang) {
        uint64_t value;
        ssize_t ignored = read(reactor->peer.doorbell, &value, sizeof value);
        (void)ignored;
        if (clock_ns(&reactor->engine->clock) - start < SPIN_MAX)
            reactor->spin_ns = reactor->spin_ns * 4 > SPIN_MAX ? SPIN_MAX
                               : reactor->spin_ns              ? reactor->spin_ns * 4
                                                               : SPIN_MIN;
    }
}

void reactor_end(struct reactor *reactor)
{
    run_inbox(reactor);
    actor_destroy_all(reactor);
    if (reactor->bell_armed)
        ring_cancel(reactor->ring, &reactor->bell);
    while (ring_pending(reactor->ring))
        ring_wait(reactor->ring, NS_PER_S);
}

void *reactor_main(void *argument)
{
    struct reactor *reactor = argument;
    here = reactor;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(reactor->stats.cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    char name[16];
    snprintf(name, sizeof name, "reactor-%u", reactor->id % 1000);
    pthread_setname_np(pthread_self(), name);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    ring_enable(reactor->ring);
    while (!reactor_stopping(reactor)) {
        way_give(&reactor->way, reactor->now);
        if (!reactor_turn(reactor) && !reactor_stopping(reactor))
            rest(reactor);
    }
    pthread_barrier_wait(&reactor->engine->stopped);
    reactor_end(reactor);
    here = NULL;
    return NULL;
}
