/* backend_device.c — a backend's device: whose drive it is, what that understands, how it stands.
 *
 * Two things come apart. The graph tells that a device is attached, and which. Whoever plays it,
 * an actor or an embedding thread, tells by itself what it understands, which may be before that.
 * A backend can't look into another thread, so the state of the tray and of the lock is mirrored
 * here: it is told whenever it changes, and with each answer. */
#include <errno.h>
#include <stdlib.h>

#include "actors/backend_impl.h"
#include "actors/emit.h"
#include "engine/mem.h"

bool backend_is_removable(const struct backend *backend)
{
    const struct backend_device *device = &backend->device;
    return !device->attached || device->any_media || device->offers & DEVICE_OFFERS_CHANGE_MEDIA;
}

bool backend_has_tray(const struct backend *backend)
{
    return backend->device.offers & DEVICE_OFFERS_TRAY_OPEN;
}

static const char *device_id(const struct backend *backend)
{
    const struct backend_device *device = &backend->device;
    if (!device->attached)
        return "";
    return !*device->id && device->path ? device->path : device->id;
}

const char *backend_device_name(const struct backend *backend)
{
    return backend->device.attached ? device_id(backend) : "without a name";
}

/* --- Its state */

void backend_tray_moved(struct backend *backend, bool open)
{
    Sluice__TrayEvent *event = MAIL_NEW(sluice__tray_event);
    mail_set(&event->backend, actor_name(backend->self));
    mail_set(&event->device, device_id(backend));
    event->open = open;
    emit_event(backend->self, "device", device_id(backend), SLUICE__EVENT__SEVERITY__INFO,
               SLUICE__EVENT__BODY_DEVICE_TRAY_MOVED, event);
}

/* Returns whether the tray has moved. */
static bool take_state(struct backend *backend, const Sluice__DeviceState *state)
{
    struct backend_device *device = &backend->device;
    bool was = device->tray_open;
    device->tray_open = device->offers & DEVICE_OFFERS_TRAY_OPEN && state->tray_open;
    device->locked = device->offers & DEVICE_OFFERS_MEDIUM_LOCKED && state->medium_locked;
    if (device->tray_open == was)
        return false;
    backend_look(backend);
    backend_tell_watchers(backend);
    return true;
}

static bool is_of_device(const struct backend *backend, actor_addr from, uint64_t tag)
{
    return backend->device.address && backend->device.address == from && backend->device.tag == tag;
}

static void pass_down(const struct backend *backend, Sluice__DeviceState__Act act)
{
    if (!backend->node)
        return;
    Sluice__NodeMedium *mail = MAIL_NEW(sluice__node_medium);
    mail->act = act;
    actor_tell(backend->self, backend->node, MAIL_NODE_MEDIUM, mail);
}

/* Of one that is no longer the device, what it does to the medium goes down all the same. */
void backend_on_device_state(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__DeviceState *state = (const Sluice__DeviceState *)mail->body;
    bool moved = is_of_device(backend, mail->from, state->tag) && take_state(backend, state);
    switch (state->act) {
    case SLUICE__DEVICE_STATE__ACT__EJECT:
    case SLUICE__DEVICE_STATE__ACT__LOAD:
        pass_down(backend, state->act);
        backend_tray_moved(backend, state->act == SLUICE__DEVICE_STATE__ACT__EJECT);
        break;
    case SLUICE__DEVICE_STATE__ACT__LOCK:
    case SLUICE__DEVICE_STATE__ACT__UNLOCK:
        pass_down(backend, state->act);
        /* fall through */
    default:
        if (moved)
            backend_tray_moved(backend, backend->device.tray_open);
    }
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

/* --- Telling and asking it */

static unsigned offer_of(Sluice__DeviceCall__Call call)
{
    switch (call) {
    case SLUICE__DEVICE_CALL__CALL__LOAD:
    case SLUICE__DEVICE_CALL__CALL__EJECT:
        return DEVICE_OFFERS_CHANGE_MEDIA;
    case SLUICE__DEVICE_CALL__CALL__RESIZED:
        return DEVICE_OFFERS_RESIZED;
    case SLUICE__DEVICE_CALL__CALL__DRAIN_BEGIN:
    case SLUICE__DEVICE_CALL__CALL__DRAIN_END:
        return DEVICE_OFFERS_DRAIN;
    default:
        return DEVICE_OFFERS_EJECT_REQUEST;
    }
}

/* The message, or null when it would not be understood. */
static Sluice__DeviceCall *call_mail(const struct backend *backend, Sluice__DeviceCall__Call call)
{
    if (!backend->device.address || !(backend->device.offers & offer_of(call)))
        return NULL;
    Sluice__DeviceCall *mail = MAIL_NEW(sluice__device_call);
    mail->call = call;
    mail->tag = backend->device.tag;
    return mail;
}

static void tell(struct backend *backend, Sluice__DeviceCall__Call call)
{
    Sluice__DeviceCall *mail = call_mail(backend, call);
    if (mail)
        actor_tell(backend->self, backend->device.address, MAIL_DEVICE_CALL, mail);
}

void backend_device_drained(struct backend *backend, bool begin)
{
    tell(backend,
         begin ? SLUICE__DEVICE_CALL__CALL__DRAIN_BEGIN : SLUICE__DEVICE_CALL__CALL__DRAIN_END);
}

void backend_device_resized(struct backend *backend)
{
    tell(backend, SLUICE__DEVICE_CALL__CALL__RESIZED);
}

/* Consoles, the owner, and a medium that comes or goes may ask it at the same time. */
struct device_question {
    struct device_question *next;
    struct backend *backend;
    Sluice__DeviceCall__Call call;
    device_fn *then; /* null: nobody waits for the answer any more */
};

static struct device_question *awaited(const struct backend *backend)
{
    struct device_question *question = backend->device.questions;
    while (question && !question->then)
        question = question->next;
    return question;
}

int backend_device_idle(const struct backend *backend, struct err *err)
{
    if (!awaited(backend) && !backend->change.prepared && !backend->closing)
        return 0;
    return err_set(err, -EBUSY,
                   "the device of backend '%.63s' is busy with a change of its medium; try again "
                   "when that is done",
                   actor_name(backend->self));
}

static void forget(struct device_question *question)
{
    struct device_question **at = &question->backend->device.questions;
    while (*at != question)
        at = &(*at)->next;
    *at = question->next;
    free(question);
}

/* Only loading may fail. One that is gone meanwhile has nothing to eject from. */
static void answered(struct actor *self, struct mail *reply, void *arg)
{
    struct device_question *question = arg;
    struct backend *backend = question->backend;
    device_fn *then = question->then;
    bool loads = question->call == SLUICE__DEVICE_CALL__CALL__LOAD;
    struct err err = {0};
    (void)self;
    forget(question);
    if (!then) /* too late */
        return;
    if (mail_fault(reply)) {
        mail_fault_err(reply, &err);
    } else {
        const Sluice__DeviceState *state = (const Sluice__DeviceState *)reply->body;
        if (is_of_device(backend, reply->from, state->tag) && take_state(backend, state)) {
            if (backend->change.quiet)
                *(state->tray_open ? &backend->change.opened : &backend->change.closed) = true;
            else
                backend_tray_moved(backend, state->tray_open);
        }
    }
    then(backend, err.code && loads ? &err : NULL);
}

void backend_device_ask(struct backend *backend, Sluice__DeviceCall__Call call, device_fn *then)
{
    struct backend_device *device = &backend->device;
    Sluice__DeviceCall *mail = backend->aborted ? NULL : call_mail(backend, call);
    if (!mail) {
        then(backend, NULL);
        return;
    }
    if (offer_of(call) == DEVICE_OFFERS_EJECT_REQUEST)
        device->eject_requests++;
    struct device_question *question = MEM_NEW(struct device_question);
    *question = (struct device_question){device->questions, backend, call, then};
    device->questions = question;
    actor_ask(backend->self, device->address, MAIL_DEVICE_CALL, mail, answered, question);
}

void backend_device_abort(struct backend *backend)
{
    struct device_question *question;
    struct err err = {0};
    err_set(&err, -ESHUTDOWN, "the device of backend '%.63s' did not answer before the end",
            actor_name(backend->self));
    while ((question = awaited(backend))) {
        device_fn *then = question->then;
        question->then = NULL;
        then(backend, question->call == SLUICE__DEVICE_CALL__CALL__LOAD ? &err : NULL);
    }
}

/* --- What the device's owner asks */

static void ask_done(struct backend *backend, const struct err *err)
{
    if (err)
        actor_refuse(backend->self, backend->device.asker, err);
    else
        actor_reply(backend->self, backend->device.asker, MAIL_NONE, NULL);
}

void backend_on_device_ask(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    struct err err = {0};
    if (backend_device_idle(backend, &err) < 0) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    backend->device.asker = mail_ticket(mail);
    backend_device_ask(backend, ((Sluice__DeviceAsk *)mail->body)->call, ask_done);
}

/* --- Who it is, and what it understands */

static void forget_ops(struct backend *backend)
{
    struct backend_device *device = &backend->device;
    Sluice__DeviceState none = SLUICE__DEVICE_STATE__INIT;
    device->address = device->tag = device->offers = 0;
    take_state(backend, &none);
}

static void forget_device(struct backend *backend)
{
    struct backend_device *device = &backend->device;
    free(device->id);
    free(device->path);
    device->id = device->path = NULL;
    device->attached = device->any_media = false;
    backend->guest_block_size = GUEST_BLOCK;
    device->eject_requests = 0;
}

void backend_on_device_attach(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__DeviceAttach *attach = (const Sluice__DeviceAttach *)mail->body;
    forget_device(backend);
    backend->device.attached = true;
    backend->device.id = mem_string(attach->id);
    backend->device.path = attach->path ? mem_string(attach->path) : NULL;
    backend->device.any_media = attach->any_media;
    backend->guest_block_size = attach->block_size;
    backend_reset_io_status(backend);
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

void backend_on_device_detach(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    forget_ops(backend);
    forget_device(backend);
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

/* One that comes into a drained region learns of it at once. */
void backend_on_device_ops(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__DeviceOps *ops = (const Sluice__DeviceOps *)mail->body;
    if (!ops->offers) {
        if (is_of_device(backend, mail->from, ops->tag))
            forget_ops(backend);
    } else {
        backend->device.address = mail->from;
        backend->device.tag = ops->tag;
        backend->device.offers = ops->offers;
        take_state(backend, ops->state);
        if (backend->quiesced)
            backend_device_drained(backend, true);
    }
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

void backend_device_session_ended(struct backend *backend, uint64_t session)
{
    if (backend->device.address && backend->device.tag == session)
        forget_ops(backend);
}

/* --- Description */

void backend_device_describe(const struct backend *backend, Sluice__BackendInfo *info)
{
    const struct backend_device *device = &backend->device;
    if (device->attached)
        mail_set(&info->device, device_id(backend));
    info->has_removable = info->has_tray = info->has_tray_open = info->has_locked = true;
    info->removable = backend_is_removable(backend);
    info->tray = backend_has_tray(backend);
    info->tray_open = device->tray_open;
    info->locked = device->locked;
}

void backend_on_device_describe(struct actor *self, struct mail *mail)
{
    const struct backend *backend = actor_state(self);
    const struct backend_device *device = &backend->device;
    if (!device->attached) {
        struct err err = {0};
        err_set(&err, -ENXIO, "backend '%.63s' has no device", actor_name(self));
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    Sluice__DeviceInfo *info = MAIL_NEW(sluice__device_info);
    mail_set(&info->id, device->id);
    mail_set(&info->backend, actor_name(self));
    if (device->path)
        mail_set(&info->path, device->path);
    info->has_removable = info->has_tray = info->has_tray_open = info->has_locked = true;
    info->has_eject_requests = true;
    info->removable = backend_is_removable(backend);
    info->tray = backend_has_tray(backend);
    info->tray_open = device->tray_open;
    info->locked = device->locked;
    info->eject_requests = device->eject_requests;
    actor_reply(self, mail_ticket(mail), MAIL_DEVICE_INFO, info);
}

void backend_device_fini(struct backend *backend)
{
    struct device_question *question;
    while ((question = backend->device.questions)) {
        backend->device.questions = question->next;
        free(question);
    }
    free(backend->device.id);
    free(backend->device.path);
}
