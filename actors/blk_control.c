/* blk_control.c — what an embedding thread asks of a backend beside requests: policies, status,
 * pauses. All of it goes over the control lane and waits for the answer. */
#include <errno.h>

#include "actors/context.h"

static int call(blk *blk, unsigned kind, void *body, void **reply)
{
    return context_call(blk->context, blk->backend, kind, body, reply, NULL);
}

static bool policy(enum blk_on_error on_error, Sluice__OnError__Policy *out)
{
    static const Sluice__OnError__Policy policies[] = {
        [BLK_ON_ERROR_REPORT] = SLUICE__ON_ERROR__POLICY__REPORT,
        [BLK_ON_ERROR_IGNORE] = SLUICE__ON_ERROR__POLICY__IGNORE,
        [BLK_ON_ERROR_STOP] = SLUICE__ON_ERROR__POLICY__STOP,
        [BLK_ON_ERROR_ENOSPC] = SLUICE__ON_ERROR__POLICY__ENOSPC,
    };
    if ((unsigned)on_error >= sizeof policies / sizeof *policies)
        return false;
    *out = policies[on_error];
    return true;
}

int blk_set_on_error(blk *blk, enum blk_on_error on_read_error, enum blk_on_error on_write_error)
{
    Sluice__OnError__Policy read, write;
    if (!policy(on_read_error, &read) || !policy(on_write_error, &write))
        return -EINVAL;
    Sluice__BackendSet *set = MAIL_NEW(sluice__backend_set);
    mail_set(&set->name, blk->name);
    set->has_rerror = set->has_werror = true;
    set->rerror = read;
    set->werror = write;
    return call(blk, MAIL_BACKEND_SET, set, NULL);
}

int blk_iostatus(blk *blk)
{
    void *reply = NULL;
    int ret = call(blk, MAIL_DESCRIBE, NULL, &reply);
    if (ret < 0)
        return ret;
    switch (((const Sluice__BackendInfo *)reply)->io_status) {
    case SLUICE__IO_STATUS__NOSPACE:
        ret = BLK_IOSTATUS_NOSPACE;
        break;
    case SLUICE__IO_STATUS__FAILED:
        ret = BLK_IOSTATUS_FAILED;
        break;
    default:
        ret = BLK_IOSTATUS_OK;
    }
    mail_free_body(reply);
    return ret;
}

int blk_set_enable_write_cache(blk *blk, bool on)
{
    Sluice__BackendSet *set = MAIL_NEW(sluice__backend_set);
    mail_set(&set->name, blk->name);
    set->has_write_cache = true;
    set->write_cache = on;
    return call(blk, MAIL_BACKEND_SET, set, NULL);
}

int blk_enable_write_cache(blk *blk)
{
    void *reply = NULL;
    int ret = call(blk, MAIL_DESCRIBE, NULL, &reply);
    if (ret == 0)
        ret = ((const Sluice__BackendInfo *)reply)->write_cache;
    mail_free_body(reply);
    return ret;
}

_Static_assert((int)BLK_PERM_CONSISTENT_READ == (int)PERM_CONSISTENT_READ &&
                   (int)BLK_PERM_WRITE == (int)PERM_WRITE &&
                   (int)BLK_PERM_WRITE_UNCHANGED == (int)PERM_WRITE_UNCHANGED &&
                   (int)BLK_PERM_RESIZE == (int)PERM_RESIZE &&
                   (int)BLK_PERM_GRAPH_MOD == (int)PERM_GRAPH_MOD &&
                   (int)BLK_PERM_ALL == (int)PERM_ALL,
               "sluice.h says what the graph means");

int blk_set_perm(blk *blk, unsigned perm, unsigned shared, char **error)
{
    struct err err = {0};
    if ((perm | shared) & ~PERM_ALL)
        return context_error(
            error, -EINVAL,
            "blk_set_perm was given a bit that is no permission; see enum blk_perm");
    Sluice__ClaimSet *set = MAIL_NEW(sluice__claim_set);
    set->claim = blk->device ? blk->device : blk->claim;
    set->permissions = blk_permissions((struct driver_perms){perm, shared});
    if (context_call(blk->context, blk->context->sluice->world.graph, MAIL_CLAIM_SET, set, NULL,
                     &err) < 0)
        return context_error(error, err.code, err.text);
    blk->perms = (struct driver_perms){perm, shared};
    blk->writable = perm & PERM_WRITE;
    return context_error(error, 0, NULL);
}

void blk_get_perm(const blk *blk, unsigned *perm, unsigned *shared)
{
    *perm = blk->perms.perm;
    *shared = blk->perms.shared;
}

void blk_set_allow_write_beyond_eof(blk *blk, bool allow)
{
    blk->beyond_end = allow;
}

int blk_drain_begin(blk *blk)
{
    Sluice__Drain *drain = MAIL_NEW(sluice__drain);
    drain->has_backend = true;
    drain->backend = blk->backend;
    drain->has_number = true;
    drain->number = blk->number;
    blk->holds++; /* callbacks may close it */
    int ret = region_begin(blk->context, &blk->regions, drain);
    while (blk->closed && blk->regions)
        region_end(blk->context, &blk->regions);
    if (ret == 0 && blk->closed)
        ret = -ENXIO;
    blk->holds--;
    blk_free_closed(blk);
    return ret;
}

int blk_drain_end(blk *blk)
{
    return blk->regions ? region_end(blk->context, &blk->regions) : -EINVAL;
}

int blk_drain(blk *blk)
{
    int ret = blk_drain_begin(blk);
    return ret < 0 ? ret : blk_drain_end(blk);
}

/* --- Reactors */

int blk_set_reactor(blk *blk, unsigned reactor, bool force, char **error)
{
    struct err err = {0};
    Sluice__ClaimMove *move = MAIL_NEW(sluice__claim_move);
    move->claim = blk->claim;
    move->reactor = reactor;
    move->force = force;
    int ret = context_call(blk->context, blk->context->sluice->world.graph, MAIL_CLAIM_MOVE, move,
                           NULL, &err);
    return context_error(error, ret, err.text);
}

int blk_get_reactor(blk *blk)
{
    void *reply = NULL;
    int ret = call(blk, MAIL_DESCRIBE, NULL, &reply);
    if (ret == 0)
        ret = (int)((const Sluice__BackendInfo *)reply)->reactor;
    mail_free_body(reply);
    return ret;
}

int blk_set_allow_reactor_change(blk *blk, bool allow)
{
    Sluice__ClaimAllow *mail = MAIL_NEW(sluice__claim_allow);
    mail->claim = blk->claim;
    mail->move = allow;
    return context_call(blk->context, blk->context->sluice->world.graph, MAIL_CLAIM_ALLOW, mail,
                        NULL, NULL);
}

void blk_set_reactor_notifier(blk *blk, void (*detached)(void *opaque),
                              void (*attached)(void *opaque, unsigned reactor), void *opaque)
{
    blk->detached = detached;
    blk->attached = attached;
    blk->move_opaque = opaque;
}

void blk_moving(struct blk *blk, const Sluice__Moving *moving)
{
    if (moving->arrived && blk->attached)
        blk->attached(blk->move_opaque, moving->reactor);
    if (!moving->arrived && blk->detached)
        blk->detached(blk->move_opaque);
}

static int set_paused(blk *blk, bool on)
{
    Sluice__ClaimPause *pause = MAIL_NEW(sluice__claim_pause);
    pause->claim = blk->claim;
    pause->on = on;
    return context_call(blk->context, blk->context->sluice->world.graph, MAIL_CLAIM_PAUSE, pause,
                        NULL, NULL);
}

int blk_pause(blk *blk)
{
    return set_paused(blk, true);
}

int blk_resume(blk *blk)
{
    return set_paused(blk, false);
}
