#include "actors/device.h"

#include <errno.h>

#include <stdlib.h>

#include "actors/kinds.h"
#include "engine/mem.h"

/* Who waits until the backend knows. It answers in the order in which it was told. */
struct waiter {
    struct waiter *next;
    struct ticket ticket;
};

struct device {
    actor_addr backend;
    bool removable, tray;
    bool open, locked; /* the tray; the medium */
    bool jammed;       /* the tray does not close */
    struct waiter *first, **last;
    bool closing;
    struct ticket closer;
};

static Sluice__DeviceState *state_mail(const struct device *device, Sluice__DeviceState__Act act)
{
    Sluice__DeviceState *state = MAIL_NEW(sluice__device_state);
    state->tray_open = device->open;
    state->medium_locked = device->locked;
    state->has_act = true;
    state->act = act;
    return state;
}

/* Who waits is answered first. */
static void close_if_idle(struct actor *self)
{
    const struct device *device = actor_state(self);
    if (!device->closing || device->first)
        return;
    actor_reply(self, device->closer, MAIL_NONE, NULL);
    actor_stop(self);
}

/* What the backend says to it is the answer. */
static void backend_knows(struct actor *self, struct mail *reply, void *arg)
{
    struct device *device = arg;
    struct waiter *waiter = device->first;
    struct err err = {0};
    if (!(device->first = waiter->next))
        device->last = &device->first;
    if (mail_fault(reply)) {
        mail_fault_err(reply, &err);
        actor_refuse(self, waiter->ticket, &err);
    } else {
        actor_reply(self, waiter->ticket, MAIL_NONE, NULL);
    }
    free(waiter);
    close_if_idle(self);
}

static void tell_backend(struct actor *self, unsigned kind, void *body, struct ticket ticket)
{
    struct device *device = actor_state(self);
    struct waiter *waiter = MEM_NEW(struct waiter);
    waiter->ticket = ticket;
    waiter->next = NULL;
    *device->last = waiter;
    device->last = &waiter->next;
    actor_ask(self, device->backend, kind, body, backend_knows, device);
}

static void on_open(struct actor *self, struct mail *mail)
{
    struct device *device = actor_state(self);
    const Sluice__DeviceOpen *open = (Sluice__DeviceOpen *)mail->body;
    device->backend = open->backend;
    device->removable = open->spec->removable;
    device->tray = open->spec->tray;
    device->locked = open->spec->locked;
    Sluice__DeviceOps *ops = MAIL_NEW(sluice__device_ops);
    ops->offers = DEVICE_OFFERS_MEDIUM_LOCKED | DEVICE_OFFERS_EJECT_REQUEST;
    if (device->removable)
        ops->offers |= DEVICE_OFFERS_CHANGE_MEDIA;
    if (device->tray)
        ops->offers |= DEVICE_OFFERS_TRAY_OPEN;
    ops->state = state_mail(device, SLUICE__DEVICE_STATE__ACT__NONE);
    tell_backend(self, MAIL_DEVICE_OPS, ops, mail_ticket(mail));
}

/* --- What the backend asks */

static void on_call(struct actor *self, struct mail *mail)
{
    struct device *device = actor_state(self);
    switch (((Sluice__DeviceCall *)mail->body)->call) {
    case SLUICE__DEVICE_CALL__CALL__LOAD:
        if (device->jammed && device->open) {
            struct err err = {0};
            err_set(&err, -EIO,
                    "the tray of device '%.100s' is jammed and does not close; unjam it with "
                    "device-set jammed=off",
                    actor_name(self));
            actor_refuse(self, mail_ticket(mail), &err);
            return;
        }
        device->open = false;
        break;
    case SLUICE__DEVICE_CALL__CALL__EJECT:
        device->open = device->tray;
        break;
    case SLUICE__DEVICE_CALL__CALL__FORCED_EJECT_REQUEST:
        device->locked = false;
        break;
    default:
        break; /* its guest does nothing by itself */
    }
    actor_reply(self, mail_ticket(mail), MAIL_DEVICE_STATE,
                state_mail(device, SLUICE__DEVICE_STATE__ACT__NONE));
}

/* --- What it does by itself */

/* As its guest is told: by the drive, not by us. */
static int check(const struct device *device, const Sluice__DeviceSet *set, struct err *err)
{
    bool locked = set->has_locked ? set->locked : device->locked;
    bool jammed = set->has_jammed ? set->jammed : device->jammed;
    if ((set->has_tray_open || set->has_jammed) && !device->tray)
        return err_field(err, set->has_jammed ? "jammed" : "tray_open", -ENOTSUP,
                         "device '%.100s' has no tray; add it with tray=on to have one", set->id);
    if (locked && !device->removable)
        return err_field(err, "locked", -ENOTSUP,
                         "device '%.100s' can't lock its medium in when nobody can take it out; "
                         "add it with removable=on to have one that can",
                         set->id);
    if (!set->has_tray_open || set->tray_open == device->open)
        return 0;
    if (set->tray_open && locked)
        return err_field(err, "tray_open", -EBUSY,
                         "device '%.100s' does not open its tray: the medium is locked in; unlock "
                         "it with locked=off",
                         set->id);
    if (!set->tray_open && jammed)
        return err_field(err, "tray_open", -EIO,
                         "the tray of device '%.100s' is jammed and does not close; unjam it with "
                         "jammed=off",
                         set->id);
    return 0;
}

static void on_set(struct actor *self, struct mail *mail)
{
    struct device *device = actor_state(self);
    const Sluice__DeviceSet *set = (Sluice__DeviceSet *)mail->body;
    Sluice__DeviceState__Act act = SLUICE__DEVICE_STATE__ACT__NONE;
    struct err err = {0};
    if (check(device, set, &err) < 0) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    if (set->has_jammed)
        device->jammed = set->jammed;
    if (set->has_locked && set->locked != device->locked) {
        device->locked = set->locked;
        act = set->locked ? SLUICE__DEVICE_STATE__ACT__LOCK : SLUICE__DEVICE_STATE__ACT__UNLOCK;
        actor_tell(self, device->backend, MAIL_DEVICE_STATE, state_mail(device, act));
        act = SLUICE__DEVICE_STATE__ACT__NONE;
    }
    if (set->has_tray_open && set->tray_open != device->open) {
        device->open = set->tray_open;
        act = set->tray_open ? SLUICE__DEVICE_STATE__ACT__EJECT : SLUICE__DEVICE_STATE__ACT__LOAD;
    }
    tell_backend(self, MAIL_DEVICE_STATE, state_mail(device, act), mail_ticket(mail));
}

/* --- Life */

static void init(struct actor *self)
{
    struct device *device = actor_state(self);
    device->last = &device->first;
}

static void fini(struct actor *self)
{
    const struct device *device = actor_state(self);
    for (struct waiter *waiter = device->first, *next; waiter; waiter = next) {
        next = waiter->next;
        free(waiter);
    }
}

static void on_close(struct actor *self, struct mail *mail)
{
    struct device *device = actor_state(self);
    device->closing = true;
    device->closer = mail_ticket(mail);
    close_if_idle(self);
}

static void on_abort(struct actor *self, struct mail *mail)
{
    (void)self; /* it holds nothing up */
    (void)mail;
}

const struct actor_type device_type = {
    .name = "device",
    .size = sizeof(struct device),
    .init = init,
    .fini = fini,
    .handlers =
        {
            [MAIL_DEVICE_OPEN] = on_open,
            [MAIL_DEVICE_CALL] = on_call,
            [MAIL_DEVICE_SET] = on_set,
            [MAIL_CLOSE] = on_close,
            [MAIL_ABORT] = on_abort,
        },
};
