/* blk_device.c — devices of embedding threads: attached over the graph, played by callbacks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/context.h"
#include "engine/mem.h"

static actor_addr graph(const blk *blk)
{
    return blk->context->sluice->world.graph;
}

static int call(blk *blk, unsigned kind, void *body, void **reply, struct err *err)
{
    return context_call(blk->context, blk->backend, kind, body, reply, err);
}

/* --- Attaching */

static struct driver_perms wanted(int flags)
{
    struct driver_perms perms = {PERM_CONSISTENT_READ, PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED};
    perms.perm |= (flags & BLK_WRITABLE ? PERM_WRITE : 0) | (flags & BLK_RESIZE ? PERM_RESIZE : 0);
    perms.shared |= flags & BLK_SHARE_RW ? PERM_WRITE : 0;
    return perms;
}

static void take_perms(blk *blk, struct driver_perms perms)
{
    blk->perms = perms;
    blk->writable = perms.perm & PERM_WRITE;
}

/* What it was opened with. */
static void give_claim_up(blk *blk)
{
    Sluice__ClaimSet *set = MAIL_NEW(sluice__claim_set);
    set->claim = blk->claim;
    set->permissions = blk_permissions((struct driver_perms){0, PERM_ALL});
    context_call(blk->context, graph(blk), MAIL_CLAIM_SET, set, NULL, NULL);
}

int blk_attach_dev(blk *blk, const char *id, const char *path, int flags, char **error)
{
    struct err err = {0};
    if (flags & ~(BLK_WRITABLE | BLK_RESIZE | BLK_SHARE_RW))
        return context_error(
            error, -EINVAL,
            "blk_attach_dev takes the flags BLK_WRITABLE, BLK_RESIZE and BLK_SHARE_RW, or 0");
    struct driver_perms perms = wanted(flags);
    Sluice__Attach *attach = MAIL_NEW(sluice__attach);
    attach->has_claim = true;
    attach->claim = blk->claim;
    mail_set(&attach->id, id ? id : "");
    if (path)
        mail_set(&attach->path, path);
    attach->permissions = blk_permissions(perms);
    void *reply = NULL;
    if (context_call(blk->context, graph(blk), MAIL_ATTACH, attach, &reply, &err) < 0)
        return context_error(error, err.code, err.text);
    blk->device = ((const Sluice__Claimed *)reply)->claim;
    mail_free_body(reply);
    give_claim_up(blk);
    take_perms(blk, perms);
    return context_error(error, 0, NULL);
}

int blk_detach_dev(blk *blk)
{
    if (!blk->device)
        return -EINVAL;
    Sluice__ClaimEnd *end = MAIL_NEW(sluice__claim_end);
    end->claim = blk->device;
    blk->device = 0;
    blk->has_ops = false;
    take_perms(blk, (struct driver_perms){0, PERM_ALL});
    return context_call(blk->context, graph(blk), MAIL_CLAIM_END, end, NULL, NULL);
}

void blk_dev_end(blk *blk)
{
    if (blk->device)
        blk_detach_dev(blk);
    blk->has_ops = false;
}

/* --- Its state */

static Sluice__DeviceState *state_mail(blk *blk, Sluice__DeviceState__Act act)
{
    Sluice__DeviceState *state = MAIL_NEW(sluice__device_state);
    const struct blk_dev_ops *ops = &blk->ops;
    blk->told_open = blk->has_ops && ops->is_tray_open && ops->is_tray_open(blk->ops_opaque);
    blk->told_locked =
        blk->has_ops && ops->is_medium_locked && ops->is_medium_locked(blk->ops_opaque);
    state->tray_open = blk->told_open;
    state->medium_locked = blk->told_locked;
    state->has_act = state->has_tag = true;
    state->act = act;
    state->tag = blk->session;
    return state;
}

static int tell_state(blk *blk, Sluice__DeviceState__Act act)
{
    return call(blk, MAIL_DEVICE_STATE, state_mail(blk, act), NULL, NULL);
}

int blk_dev_state_changed(blk *blk)
{
    return tell_state(blk, SLUICE__DEVICE_STATE__ACT__NONE);
}

int blk_eject(blk *blk, bool eject)
{
    return tell_state(blk,
                      eject ? SLUICE__DEVICE_STATE__ACT__EJECT : SLUICE__DEVICE_STATE__ACT__LOAD);
}

int blk_lock_medium(blk *blk, bool lock)
{
    return tell_state(blk,
                      lock ? SLUICE__DEVICE_STATE__ACT__LOCK : SLUICE__DEVICE_STATE__ACT__UNLOCK);
}

/* --- Operations */

static unsigned offers(const struct blk_dev_ops *ops)
{
    return (ops->change_media ? DEVICE_OFFERS_CHANGE_MEDIA : 0) |
           (ops->eject_request ? DEVICE_OFFERS_EJECT_REQUEST : 0) |
           (ops->is_tray_open ? DEVICE_OFFERS_TRAY_OPEN : 0) |
           (ops->is_medium_locked ? DEVICE_OFFERS_MEDIUM_LOCKED : 0) |
           (ops->resized ? DEVICE_OFFERS_RESIZED : 0) |
           (ops->drained_begin || ops->drained_end ? DEVICE_OFFERS_DRAIN : 0);
}

int blk_set_dev_ops(blk *blk, const struct blk_dev_ops *ops, void *opaque)
{
    Sluice__DeviceOps *mail = MAIL_NEW(sluice__device_ops);
    blk->has_ops = ops;
    blk->ops = ops ? *ops : (struct blk_dev_ops){0};
    blk->ops_opaque = opaque;
    mail->offers = offers(&blk->ops);
    mail->state = state_mail(blk, SLUICE__DEVICE_STATE__ACT__NONE);
    mail->tag = blk->session;
    return call(blk, MAIL_DEVICE_OPS, mail, NULL, NULL);
}

static int obey(const blk *blk, Sluice__DeviceCall__Call what)
{
    const struct blk_dev_ops *ops = &blk->ops;
    void *opaque = blk->ops_opaque;
    bool load = what == SLUICE__DEVICE_CALL__CALL__LOAD;
    switch (what) {
    case SLUICE__DEVICE_CALL__CALL__LOAD:
    case SLUICE__DEVICE_CALL__CALL__EJECT:
        return ops->change_media ? ops->change_media(opaque, load) : 0;
    case SLUICE__DEVICE_CALL__CALL__EJECT_REQUEST:
    case SLUICE__DEVICE_CALL__CALL__FORCED_EJECT_REQUEST:
        if (ops->eject_request)
            ops->eject_request(opaque, what == SLUICE__DEVICE_CALL__CALL__FORCED_EJECT_REQUEST);
        return 0;
    case SLUICE__DEVICE_CALL__CALL__RESIZED:
        if (ops->resized)
            ops->resized(opaque);
        return 0;
    case SLUICE__DEVICE_CALL__CALL__DRAIN_BEGIN:
        if (ops->drained_begin)
            ops->drained_begin(opaque);
        return 0;
    default:
        if (ops->drained_end)
            ops->drained_end(opaque);
        return 0;
    }
}

/* Who was only told something is told about when it has changed. */
static void answer(blk *blk, const struct note *note, int ret)
{
    struct port *port = blk->context->port;
    if (note->ticket.correlation && ret >= 0) {
        port_reply(port, note->ticket, MAIL_DEVICE_STATE,
                   state_mail(blk, SLUICE__DEVICE_STATE__ACT__NONE));
        return;
    }
    bool open = blk->told_open, locked = blk->told_locked;
    Sluice__DeviceState *state = state_mail(blk, SLUICE__DEVICE_STATE__ACT__NONE);
    if (open != blk->told_open || locked != blk->told_locked)
        port_tell(port, blk->backend, MAIL_DEVICE_STATE, state);
    else
        mail_free_body(state);
    struct err err = {0};
    if (ret < 0)
        err_set(&err, ret, "the device of backend '%.63s' did not take the medium: %s", blk->name,
                strerror(-ret));
    if (ret < 0)
        port_refuse(port, note->ticket, &err);
}

static blk *player(const blk_context *context, const struct note *note)
{
    blk *blk = context->blks;
    while (blk && (blk->backend != note->from || !blk->has_ops ||
                   blk->session != ((Sluice__DeviceCall *)note->body)->tag))
        blk = blk->next;
    return blk;
}

void blk_dev_called(blk_context *context, struct note *note)
{
    blk *blk = player(context, note);
    if (blk) {
        blk->calling++;
        int ret = obey(blk, ((Sluice__DeviceCall *)note->body)->call);
        blk->calling--;
        bool closed = blk->closed;
        if (!closed)
            answer(blk, note, ret);
        blk_free_closed(blk);
        if (!closed)
            return;
    }
    struct err err = {0};
    err_set(&err, -ENXIO, "the device is gone");
    port_refuse(context->port, note->ticket, &err);
}

/* --- What others see of it */

static int look(blk *blk, Sluice__BackendInfo **out)
{
    if (blk->has_ops)
        port_tell(blk->context->port, blk->backend, MAIL_DEVICE_STATE,
                  state_mail(blk, SLUICE__DEVICE_STATE__ACT__NONE));
    return call(blk, MAIL_DESCRIBE, NULL, (void **)out, NULL);
}

char *blk_get_attached_dev_id(blk *blk)
{
    Sluice__BackendInfo *info = NULL;
    if (look(blk, &info) < 0)
        return NULL;
    char *id = mem_string(info->device ? info->device : "");
    mail_free_body(info);
    return id;
}

int blk_dev_has_removable_media(blk *blk)
{
    Sluice__BackendInfo *info = NULL;
    int ret = look(blk, &info);
    ret = ret < 0 ? ret : info->removable;
    mail_free_body(info);
    return ret;
}

int blk_dev_has_tray(blk *blk)
{
    Sluice__BackendInfo *info = NULL;
    int ret = look(blk, &info);
    ret = ret < 0 ? ret : info->tray;
    mail_free_body(info);
    return ret;
}

int blk_dev_is_tray_open(blk *blk)
{
    Sluice__BackendInfo *info = NULL;
    int ret = look(blk, &info);
    ret = ret < 0 ? ret : info->tray_open;
    mail_free_body(info);
    return ret;
}

int blk_dev_is_medium_locked(blk *blk)
{
    Sluice__BackendInfo *info = NULL;
    int ret = look(blk, &info);
    ret = ret < 0 ? ret : info->locked;
    mail_free_body(info);
    return ret;
}

/* --- What others make it do */

static int ask(blk *blk, Sluice__DeviceCall__Call what, struct err *err)
{
    Sluice__DeviceAsk *mail = MAIL_NEW(sluice__device_ask);
    mail->call = what;
    return call(blk, MAIL_DEVICE_ASK, mail, NULL, err);
}

int blk_dev_change_media(blk *blk, bool load, char **error)
{
    struct err err = {0};
    int ret =
        ask(blk, load ? SLUICE__DEVICE_CALL__CALL__LOAD : SLUICE__DEVICE_CALL__CALL__EJECT, &err);
    return context_error(error, ret, err.text);
}

int blk_dev_eject_request(blk *blk, bool force)
{
    return ask(blk,
               force ? SLUICE__DEVICE_CALL__CALL__FORCED_EJECT_REQUEST
                     : SLUICE__DEVICE_CALL__CALL__EJECT_REQUEST,
               NULL);
}
