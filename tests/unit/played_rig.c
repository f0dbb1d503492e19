#include "played_rig.h"

#include <stdio.h>

static struct {
    struct stack_device device;
    struct {
        struct ticket caller;
        Sluice__DeviceCall__Call call;
    } calls[16]; /* what the device has not answered, the oldest first */
    unsigned ncalls;
    struct stack_media media;
    struct {
        actor_addr backend;
        uint64_t session;
        unsigned kind; /* of the answer */
    } noted[32];       /* what is to be answered */
    unsigned nnoted;
} played;

/* --- The port as a device */

struct stack_device *stack_device(void)
{
    return &played.device;
}

Sluice__DeviceState *stack_device_stands(Sluice__DeviceState__Act act)
{
    Sluice__DeviceState *state = MAIL_NEW(sluice__device_state);
    state->tray_open = played.device.tray_open;
    state->medium_locked = played.device.locked;
    state->has_act = state->has_tag = true;
    state->act = act;
    state->tag = STACK_DEVICE_TAG;
    return state;
}

Sluice__DeviceOps *stack_device_offers(unsigned offers)
{
    Sluice__DeviceOps *ops = MAIL_NEW(sluice__device_ops);
    ops->offers = offers;
    ops->state = stack_device_stands(SLUICE__DEVICE_STATE__ACT__NONE);
    ops->tag = STACK_DEVICE_TAG;
    return ops;
}

void stack_device_ops(actor_addr backend, unsigned offers)
{
    stack_call(backend, MAIL_DEVICE_OPS, stack_device_offers(offers));
}

void stack_device_state(actor_addr backend, Sluice__DeviceState__Act act)
{
    stack_call(backend, MAIL_DEVICE_STATE, stack_device_stands(act));
}

bool stack_device_is_called(void)
{
    return played.ncalls > 0;
}

static struct ticket take_call(void)
{
    struct ticket caller = played.calls[0].caller;
    memmove(played.calls, played.calls + 1, --played.ncalls * sizeof *played.calls);
    return caller;
}

void stack_device_refuse(int code)
{
    struct err err = {0};
    assert_true(played.ncalls > 0);
    err_set(&err, code, "the rig does not %s",
            played.calls[0].call == SLUICE__DEVICE_CALL__CALL__LOAD ? "load" : "obey");
    port_refuse(stack_port(), take_call(), &err);
}

void stack_device_answer(void)
{
    assert_true(played.ncalls > 0);
    Sluice__DeviceCall__Call call = played.calls[0].call;
    if (call == SLUICE__DEVICE_CALL__CALL__LOAD && played.device.load_error) {
        stack_device_refuse(played.device.load_error);
        return;
    }
    struct ticket caller = take_call();
    if (call == SLUICE__DEVICE_CALL__CALL__LOAD)
        played.device.tray_open = false;
    else if (call == SLUICE__DEVICE_CALL__CALL__EJECT)
        played.device.tray_open = true;
    else if (call == SLUICE__DEVICE_CALL__CALL__FORCED_EJECT_REQUEST)
        played.device.locked = false;
    port_reply(stack_port(), caller, MAIL_DEVICE_STATE,
               stack_device_stands(SLUICE__DEVICE_STATE__ACT__NONE));
}

static void device_called(const struct mail *mail)
{
    static const char *const names[] = {"load",    "eject",       "eject-request", "force",
                                        "resized", "drain-begin", "drain-end"};
    const Sluice__DeviceCall *call = (const void *)mail->body;
    size_t used = strlen(played.device.log);
    snprintf(played.device.log + used, sizeof played.device.log - used, "%s%s", used ? ", " : "",
             names[call->call]);
    assert_int_equal(call->tag, STACK_DEVICE_TAG);
    if (!mail->correlation)
        return;
    assert_true(played.ncalls < sizeof played.calls / sizeof *played.calls);
    played.calls[played.ncalls].caller = mail_ticket(mail);
    played.calls[played.ncalls++].call = call->call;
    if (!played.device.hold)
        stack_device_answer();
}

/* --- The port as one who is told of media */

struct stack_media *stack_media(void)
{
    return &played.media;
}

/* Of those that are to be answered; their number if none is this session's. */
static unsigned find_noted(uint64_t session)
{
    unsigned i = 0;
    while (i < played.nnoted && played.noted[i].session != session)
        i++;
    return i;
}

bool stack_is_asked(uint64_t session)
{
    return find_noted(session) < played.nnoted;
}

static void answer_noted(unsigned i)
{
    Sluice__SessionCalm *noted = MAIL_NEW(sluice__session_calm);
    noted->session = played.noted[i].session;
    port_tell(stack_port(), played.noted[i].backend, played.noted[i].kind, noted);
    played.noted[i] = played.noted[--played.nnoted];
}

void stack_answer_session(uint64_t session)
{
    assert_true(stack_is_asked(session));
    answer_noted(find_noted(session));
}

void stack_media_answer(void)
{
    while (played.nnoted)
        answer_noted(played.nnoted - 1);
}

uint64_t stack_callback_session(actor_addr backend, const _Atomic uint32_t *due)
{
    Sluice__SessionOpen *open = stack_session(8, 0);
    open->has_callbacks = true;
    open->callbacks = (uint64_t)(uintptr_t)due;
    return ((const Sluice__SessionGrant *)stack_call(backend, MAIL_SESSION_OPEN, open))->session;
}

static void note(const struct mail *mail, uint64_t session, unsigned answer)
{
    assert_true(played.nnoted < sizeof played.noted / sizeof *played.noted);
    played.noted[played.nnoted].backend = mail->from;
    played.noted[played.nnoted].session = session;
    played.noted[played.nnoted++].kind = answer;
    if (!played.media.hold)
        stack_media_answer();
}

uint64_t stack_media_session(actor_addr backend)
{
    const Sluice__SessionGrant *grant = stack_call(backend, MAIL_SESSION_OPEN, stack_session(8, 0));
    Sluice__SessionNotify *notify = MAIL_NEW(sluice__session_notify);
    notify->session = grant->session;
    notify->notify = true;
    stack_call(backend, MAIL_SESSION_NOTIFY, notify);
    return grant->session;
}

static void medium_told(const struct mail *mail)
{
    const Sluice__MediumNews *news = (const void *)mail->body;
    size_t used = strlen(played.media.log);
    snprintf(played.media.log + used, sizeof played.media.log - used, "%s%s", used ? ", " : "",
             news->inserted ? "insert" : "remove");
    note(mail, news->session, MAIL_MEDIUM_NOTED);
}

/* --- Life */

void played_start(void)
{
    memset(&played, 0, sizeof played);
}

bool played_mail(const struct mail *mail)
{
    switch (mail->kind) {
    case MAIL_MEDIUM_NEWS:
        medium_told(mail);
        return true;
    case MAIL_DEVICE_CALL:
        device_called(mail);
        return true;
    case MAIL_SESSION_QUIET:
        note(mail, ((const Sluice__SessionQuiet *)mail->body)->session, MAIL_SESSION_CALM);
        return true;
    default:
        return false;
    }
}
