/* Acts of those who use backends: see acts_rig.h. */
#include "acts_rig.h"

static const char *const names[] = {"a", "b", "c", "d", "e"}; /* of backends */

void acts_drain(void)
{
    static const char *const nodes[] = {"base", "top", "cor", "m0", "x0"};
    Sluice__Drain *mail = MAIL_NEW(sluice__drain);
    const char *text = "drain all";
    if (acts_chance(40)) {
        mail->has_backend = true;
        mail->backend = acts_somebody();
        text = "drain a backend";
    } else if (acts_chance(60)) {
        mail_set(&mail->node, nodes[acts_draw(5)]);
        text = mail->node;
    }
    mail->has_number = true;
    mail->number = (uint32_t)acts_draw(HOLDERS);
    struct acts_ask *drain = acts_ask(ACTS_REGION, 0, text);
    stack_ask(&drain->answer, stack_world()->graph, MAIL_DRAIN, mail);
}

void acts_end_region(void)
{
    if (!acts.nregions)
        return;
    uint64_t i = acts_draw(acts.nregions);
    Sluice__RegionEnd *end = MAIL_NEW(sluice__region_end);
    end->region = acts.regions[i];
    acts.regions[i] = acts.regions[--acts.nregions];
    stack_ask(&acts_ask(ACTS_NOTHING, 0, "region end")->answer, stack_world()->graph,
              MAIL_REGION_END, end);
}

static unsigned permissions(void)
{
    return acts_chance(70) ? PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE
                           : (unsigned)acts_draw(PERM_ALL + 1);
}

static unsigned shared(void)
{
    return acts_chance(80) ? PERM_ALL : (unsigned)acts_draw(PERM_ALL + 1);
}

static Sluice__Permissions *some_permissions(void)
{
    Sluice__Permissions *some = MAIL_NEW(sluice__permissions);
    some->perm = permissions();
    some->shared = shared();
    return some;
}

void acts_claim(void)
{
    const char *name = names[acts_draw(5)];
    if (acts_chance(70)) {
        stack_claim(&acts_ask(ACTS_CLAIM, 0, name)->answer, name, permissions(), shared());
        return;
    }
    static const char *const nodes[] = {"base", "two", "wt", "rm", "m1", "x0", "x1"};
    Sluice__Claim *claim = MAIL_NEW(sluice__claim);
    mail_set(&claim->backend, "");
    mail_set(&claim->name, "rig");
    claim->permissions = some_permissions();
    claim->make = MAIL_NEW(sluice__backend_add);
    mail_set(&claim->make->name, "");
    if (acts_chance(80))
        mail_set(&claim->make->node, nodes[acts_draw(7)]);
    if (acts_chance(30))
        mail_set(&claim->make->throttle, "g0");
    stack_ask(&acts_ask(ACTS_UNNAMED, 0, "claim without a name")->answer, stack_world()->graph,
              MAIL_CLAIM, claim);
}

void acts_set_claim(void)
{
    if (!acts.nclaims)
        return;
    Sluice__ClaimSet *set = MAIL_NEW(sluice__claim_set);
    set->claim = acts.claims[acts_draw(acts.nclaims)].claim;
    set->permissions = some_permissions();
    stack_ask(&acts_ask(ACTS_NOTHING, 0, "claim set")->answer, stack_world()->graph, MAIL_CLAIM_SET,
              set);
}

/* Something about the backend of a claim. */
void acts_claim_does(void)
{
    if (!acts.nclaims)
        return;
    static const char *const media[] = {"m1", "rm", "wt", "two", "x0"};
    uint64_t i = acts_draw(acts.nclaims), id = acts.claims[i].claim;
    struct acts_ask *asked = acts_ask(ACTS_NOTHING, 0, "claim does");
    unsigned kind;
    void *body;
    switch (acts_draw(8)) {
    case 0: {
        Sluice__ClaimMove *move = body = MAIL_NEW(sluice__claim_move);
        kind = MAIL_CLAIM_MOVE;
        move->claim = id;
        move->reactor = (uint32_t)acts_draw(3);
        move->force = acts_chance(50);
        break;
    }
    case 1: {
        Sluice__ClaimAllow *allow = body = MAIL_NEW(sluice__claim_allow);
        kind = MAIL_CLAIM_ALLOW;
        allow->claim = id;
        allow->move = acts_chance(50);
        break;
    }
    case 2: {
        Sluice__ClaimActivity *activity = body = MAIL_NEW(sluice__claim_activity);
        kind = MAIL_CLAIM_ACTIVITY;
        activity->claim = id;
        activity->what = (Sluice__ClaimActivity__What)acts_draw(4);
        break;
    }
    case 3: {
        Sluice__ClaimThrottle *throttle = body = MAIL_NEW(sluice__claim_throttle);
        kind = MAIL_CLAIM_THROTTLE;
        throttle->claim = id;
        throttle->what = (Sluice__ClaimThrottle__What)acts_draw(3);
        if (throttle->what == SLUICE__CLAIM_THROTTLE__WHAT__UPDATE || acts_chance(50))
            mail_set(&throttle->group, acts_chance(50) ? "g1" : "g2");
        break;
    }
    case 4: {
        Sluice__ClaimEnd *invalidate = body = MAIL_NEW(sluice__claim_end);
        kind = MAIL_CLAIM_INVALIDATE;
        invalidate->claim = id;
        break;
    }
    case 5: {
        Sluice__Blockers *blockers = body = MAIL_NEW(sluice__blockers);
        kind = MAIL_BLOCKERS;
        blockers->what = (Sluice__Blockers__What)acts_draw(3);
        blockers->object = acts.claims[i].to;
        blockers->operations = 1U << acts_draw(6);
        mail_set(&blockers->reason, "r");
        break;
    }
    default:
        if (!acts.claims[i].unnamed || acts_chance(40)) {
            Sluice__ClaimMedium *medium = body = MAIL_NEW(sluice__claim_medium);
            kind = MAIL_CLAIM_MEDIUM;
            medium->claim = id;
            if (acts.claims[i].unnamed && acts_chance(70))
                mail_set(&medium->node, media[acts_draw(5)]);
        } else {
            Sluice__BackendName *name = body = MAIL_NEW(sluice__backend_name);
            kind = MAIL_BACKEND_NAME;
            name->claim = id;
            if (acts_chance(60))
                mail_set(&name->name, acts_chance(50) ? "d" : "e");
        }
    }
    stack_ask(&asked->answer, stack_world()->graph, kind, body);
}

static void end(uint64_t claim)
{
    Sluice__ClaimEnd *end = MAIL_NEW(sluice__claim_end);
    end->claim = claim;
    stack_ask(&acts_ask(ACTS_NOTHING, 0, "claim end")->answer, stack_world()->graph, MAIL_CLAIM_END,
              end);
}

void acts_end_claim(void)
{
    if (!acts.nclaims)
        return;
    uint64_t i = acts_draw(acts.nclaims);
    end(acts.claims[i].claim);
    acts.claims[i] = acts.claims[--acts.nclaims];
}

void acts_open_session(void)
{
    Sluice__SessionOpen *open = stack_session((uint32_t)acts_draw(32), acts_draw(1 << 20));
    actor_addr to = acts_somebody();
    open->has_callbacks = true;
    open->callbacks = (uint64_t)(uintptr_t)&acts.callbacks;
    stack_ask(&acts_ask(ACTS_SESSION, to, "session")->answer, to, MAIL_SESSION_OPEN, open);
}

/* Somebody asks something of the device. */
void acts_device_is_asked(void)
{
    actor_addr to = acts_somebody();
    if (acts_chance(30)) {
        stack_ask(&acts_ask(ACTS_NOTHING, to, "device describe")->answer, to, MAIL_DEVICE_DESCRIBE,
                  NULL);
        return;
    }
    Sluice__DeviceAsk *asks = MAIL_NEW(sluice__device_ask);
    asks->call = (Sluice__DeviceCall__Call)acts_draw(4);
    stack_ask(&acts_ask(ACTS_NOTHING, to, "device ask")->answer, to, MAIL_DEVICE_ASK, asks);
}

void acts_notify_session(void)
{
    if (!acts.nsessions)
        return;
    uint64_t i = acts_draw(acts.nsessions);
    Sluice__SessionNotify *notify = MAIL_NEW(sluice__session_notify);
    notify->session = acts.sessions[i].session;
    notify->notify = acts_chance(70);
    stack_ask(&acts_ask(ACTS_NOTHING, 0, "notify")->answer, acts.sessions[i].to,
              MAIL_SESSION_NOTIFY, notify);
}

void acts_close_session(void)
{
    if (!acts.nsessions)
        return;
    uint64_t i = acts_draw(acts.nsessions);
    stack_ask(&acts_ask(ACTS_NOTHING, 0, "session close")->answer, acts.sessions[i].to,
              MAIL_SESSION_CLOSE, stack_session_end(acts.sessions[i].session));
    acts.sessions[i] = acts.sessions[--acts.nsessions];
}

void acts_callbacks(void)
{
    acts.callbacks = (uint32_t)acts_draw(2);
    stack_media()->hold = acts_chance(50);
    if (!stack_media()->hold)
        stack_media_answer();
}

void acts_attach(void)
{
    Sluice__Attach *attach = MAIL_NEW(sluice__attach);
    mail_set(&attach->backend, names[2 + acts_draw(3)]);
    mail_set(&attach->id, "own");
    attach->permissions = some_permissions();
    stack_ask(&acts_ask(ACTS_DEVICE, 0, "attach")->answer, stack_world()->graph, MAIL_ATTACH,
              attach);
}

void acts_device_does(void)
{
    struct stack_device *device = stack_device();
    device->hold = acts_chance(50);
    device->load_error = acts_chance(20) ? -EIO : 0;
    if (stack_device_is_called())
        stack_device_answer();
    for (unsigned i = 0; i < acts.nclaims; i++) {
        if (!acts.claims[i].device || acts_chance(50))
            continue;
        static const Sluice__DeviceState__Act own[] = {
            SLUICE__DEVICE_STATE__ACT__EJECT, SLUICE__DEVICE_STATE__ACT__LOAD,
            SLUICE__DEVICE_STATE__ACT__LOCK, SLUICE__DEVICE_STATE__ACT__UNLOCK};
        Sluice__DeviceState__Act act = own[acts_draw(4)];
        if (act == SLUICE__DEVICE_STATE__ACT__EJECT || act == SLUICE__DEVICE_STATE__ACT__LOAD)
            device->tray_open = act == SLUICE__DEVICE_STATE__ACT__EJECT;
        else
            device->locked = act == SLUICE__DEVICE_STATE__ACT__LOCK;
        stack_ask(&acts_ask(ACTS_NOTHING, 0, "device state")->answer, acts.claims[i].to,
                  MAIL_DEVICE_STATE, stack_device_stands(act));
    }
}

void acts_answer_all(void)
{
    acts.callbacks = 0;
    stack_media()->hold = stack_device()->hold = false;
    stack_media_answer();
    while (stack_device_is_called())
        stack_device_answer();
}

void acts_buffer(void)
{
    Sluice__Buffer *buffer = MAIL_NEW(sluice__buffer);
    actor_addr to = acts_somebody();
    buffer->address = (uint64_t)(uintptr_t)acts.memory[acts_draw(4)];
    buffer->bytes = PLACE;
    buffer->on = acts_chance(60);
    stack_ask(&acts_ask(ACTS_NOTHING, to, buffer->on ? "register" : "unregister")->answer, to,
              MAIL_BUFFER, buffer);
}
