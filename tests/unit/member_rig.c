#include "member_rig.h"

#include "actors/limits_message.h"
#include "actors/throttle.h"
#include "engine/mem.h"
#include "engine/reactor.h"
#include "window_rig.h"

#define MEMBERS 128
#define GROUPS  16
#define NESTED  10 /* requests that come within others, at a time */

static struct {
    actor_addr throttle;
    struct group {
        uint64_t parent;
        struct limits limits;
        struct window window;
        bool changing; /* its limits: no rule holds */
    } groups[GROUPS + 1];
    uint64_t ngroups;
    struct member *members[MEMBERS];
    size_t n;
    bool joined;
} crew;

/* In the frame of a request. */
struct request {
    uint64_t number;
};

static uint64_t now(const struct member *member)
{
    return reactor_now(actor_reactor(member->self));
}

/* --- Requests */

static void wake_at(struct member *member, uint64_t when)
{
    if (!member->pumping && (!timer_armed(&member->timer) || member->timer.deadline_ns > when))
        timer_arm(reactor_timers(actor_reactor(member->self)), &member->timer, when);
}

static void ended(struct op *op, void *who)
{
    (void)op;
    (void)who;
    fail_msg("a request was completed by its member");
}

static void submit(struct member *member, unsigned direction);

/* One is over: the next may come. */
static void over(struct member *member, struct member_stream *stream)
{
    if (stream->running > stream->depth) {
        stream->running--;
        return;
    }
    if (stream->at_once && member->nested < NESTED) {
        member->nested++;
        submit(member, stream == &member->streams[1]);
        return;
    }
    stream->due[stream->end_due++ % MEMBER_DEPTH] = now(member) + stream->think;
    wake_at(member, now(member) + stream->think);
}

static void watch(const struct member *member, unsigned direction, uint64_t bytes)
{
    if (!member->throttle.entered)
        return;
    for (uint64_t id = member->throttle.group_id; id; id = crew.groups[id].parent)
        if (!crew.groups[id].changing)
            window_pass(&crew.groups[id].window, &crew.groups[id].limits, direction, bytes,
                        now(member));
}

/* Whose requests are let through, alone or with all, and whose are not. */
enum { USER = 1, KEEPER };

static void pass(void *owner, struct op *op)
{
    struct member *member = owner;
    unsigned direction = throttle_is_write(op->kind);
    struct member_stream *stream = &member->streams[direction];
    uint64_t number = ((const struct request *)op_top(op))->number;
    bool keeps = op->user == KEEPER;
    assert_true(number >= stream->next[keeps]);
    stream->next[keeps] = number + 1;
    if (!member->opening && !member->throttle.open && (keeps || !member->through))
        watch(member, direction, op->bytes);
    stream->passed++;
    stream->passed_bytes += op->bytes;
    op_pop(op);
    op_free(op);
    over(member, stream);
}

static void submit(struct member *member, unsigned direction)
{
    struct member_stream *stream = &member->streams[direction];
    struct op *op = op_new(actor_peer(member->self));
    op->kind = direction ? OP_WRITE : OP_READ;
    op->bytes =
        stream->small_every && stream->begun % stream->small_every == 0 ? 512 : stream->bytes;
    op->user = stream->keeps_every && stream->begun % stream->keeps_every == 0 ? KEEPER : USER;
    struct request *request = op_push(op, ended, member);
    request->number = stream->begun++;
    if (throttle_member_pays(&member->throttle, op))
        pass(member, op);
    else if (member->through && op->user == USER)
        throttle_member_go(&member->throttle, op);
    else
        throttle_member_wait(&member->throttle, op);
}

static void pump(struct timer *timer)
{
    struct member *member = (struct member *)((char *)timer - offsetof(struct member, timer));
    uint64_t next = UINT64_MAX;
    member->pumping = true;
    member->nested = 0;
    for (unsigned d = 0; d < 2; d++) {
        struct member_stream *stream = &member->streams[d];
        const uint64_t *due = stream->due;
        while (stream->first_due < stream->end_due &&
               due[stream->first_due % MEMBER_DEPTH] <= now(member)) {
            stream->first_due++;
            submit(member, d);
        }
        if (stream->first_due < stream->end_due && due[stream->first_due % MEMBER_DEPTH] < next)
            next = due[stream->first_due % MEMBER_DEPTH];
    }
    member->pumping = false;
    if (next != UINT64_MAX)
        wake_at(member, next);
}

/* --- Members */

static void send_counted(struct actor *self, actor_addr group, enum throttle_mail what, void *body,
                         actor_reply_fn *fn, void *arg)
{
    ((struct member *)actor_state(self))->asks++;
    throttle_send(self, group, what, body, fn, arg);
}

static void init(struct actor *self)
{
    struct member *member = actor_state(self);
    member->self = self;
    member->timer.fire = pump;
    throttle_member_init(&member->throttle, self, "member", send_counted, pass, member);
    crew.members[crew.n++] = member;
}

static void on_grant(struct actor *self, struct mail *mail)
{
    struct member *member = actor_state(self);
    throttle_member_on_grant(&member->throttle, (const Sluice__ThrottleGrant *)mail->body);
}

static void closed(void *owner, const struct err *err)
{
    struct member *member = owner;
    (void)err;
    timer_cancel(reactor_timers(actor_reactor(member->self)), &member->timer);
    throttle_member_fini(&member->throttle);
    actor_reply(member->self, member->closer, MAIL_NONE, NULL);
    actor_stop(member->self);
}

static void on_close(struct actor *self, struct mail *mail)
{
    struct member *member = actor_state(self);
    member->closer = mail_ticket(mail);
    for (unsigned d = 0; d < 2; d++) {
        struct member_stream *stream = &member->streams[d];
        stream->depth = 0;
        stream->running -= (unsigned)(stream->end_due - stream->first_due);
        stream->first_due = stream->end_due;
    }
    throttle_member_close(&member->throttle, closed);
}

static const struct actor_type member_type = {
    .name = "member",
    .size = sizeof(struct member),
    .init = init,
    .handlers = {[MAIL_THROTTLE_GRANT] = on_grant, [MAIL_CLOSE] = on_close},
};

static void joined(void *owner, const struct err *err)
{
    (void)owner;
    assert_null(err);
    crew.joined = true;
}

static void join(void *arg)
{
    struct member *member = arg;
    throttle_member_join(&member->throttle, member->group ? crew.throttle : 0, member->group,
                         joined);
}

void members_join(struct member *member, uint64_t group)
{
    crew.joined = false;
    member->group = group;
    rig_at(member->address, join, member);
    rig_until(&crew.joined);
}

struct member *members_add(uint64_t group)
{
    size_t n = crew.n;
    assert_true(n < MEMBERS);
    actor_addr address = rig_spawn(&member_type, "member");
    rig_run();
    assert_int_equal(crew.n, n + 1);
    struct member *member = crew.members[n];
    member->address = address;
    members_join(member, group);
    return member;
}

static void begin(void *arg)
{
    struct member *member = arg;
    for (unsigned d = 0; d < 2; d++) {
        struct member_stream *stream = &member->streams[d];
        for (; stream->running < stream->depth; stream->running++)
            stream->due[stream->end_due++ % MEMBER_DEPTH] = now(member);
    }
    wake_at(member, now(member));
}

void members_start(struct member *member, unsigned direction, unsigned depth, uint64_t bytes,
                   uint64_t think)
{
    struct member_stream *stream = &member->streams[direction];
    assert_true(depth <= MEMBER_DEPTH);
    stream->depth = depth;
    stream->bytes = bytes;
    stream->think = think;
    rig_at(member->address, begin, member);
}

struct cancel {
    struct member *member;
    unsigned direction;
};

static void cancel(void *arg)
{
    const struct cancel *cancel = arg;
    struct member *member = cancel->member;
    const struct throttle_side *side = &member->throttle.sides[cancel->direction];
    struct op *op = side->told.head ? side->told.head : side->fresh.head;
    if (!op || !throttle_member_cancel(&member->throttle, op))
        return;
    op_pop(op);
    op_free(op);
    over(member, &member->streams[cancel->direction]);
}

void members_cancel(struct member *member, unsigned direction)
{
    struct cancel arg = {member, direction};
    rig_at(member->address, cancel, &arg);
}

/* Only those wait that keep limits, and came since. */
static void assert_open(struct member *member)
{
    for (unsigned d = 0; d < 2; d++) {
        const struct throttle_side *side = &member->throttle.sides[d];
        assert_null(side->going.head);
        for (const struct op *op = side->fresh.head; op; op = op->next)
            assert_int_equal(op->user, KEEPER);
        for (const struct op *op = side->told.head; op; op = op->next)
            assert_int_equal(op->user, KEEPER);
    }
}

static void open(void *arg)
{
    struct member *member = arg;
    member->opening = true;
    member->nested = 0;
    member->through = member->streams[0].keeps_every || member->streams[1].keeps_every;
    if (member->through)
        throttle_member_let_go(&member->throttle, USER);
    else
        throttle_member_open(&member->throttle, true);
    member->opening = false;
    assert_open(member);
}

static void shut(void *arg)
{
    struct member *member = arg;
    member->through = false;
    throttle_member_open(&member->throttle, false);
}

void members_open(struct member *member, bool on)
{
    rig_at(member->address, on ? open : shut, member);
}

/* --- Groups */

uint64_t members_group(uint64_t parent, const struct limits *limits)
{
    uint64_t id = ++crew.ngroups;
    assert_true(id <= GROUPS);
    crew.groups[id] = (struct group){.parent = parent, .limits = *limits};
    window_begin(&crew.groups[id].window);
    Sluice__ThrottleOpen *open = MAIL_NEW(sluice__throttle_open);
    open->group = id;
    mail_set(&open->name, "group");
    open->has_parent = parent != 0;
    open->parent = parent;
    open->limits = limits_to_mail(limits);
    assert_int_not_equal(rig_ask(crew.throttle, MAIL_THROTTLE_OPEN, open).kind, MAIL_FAULT);
    return id;
}

void members_set(uint64_t id, const struct limits *limits)
{
    struct group *group = &crew.groups[id];
    group->changing = true;
    Sluice__ThrottleSet *set = MAIL_NEW(sluice__throttle_set);
    set->group = id;
    set->limits = limits_to_mail(limits);
    assert_int_not_equal(rig_ask(crew.throttle, MAIL_THROTTLE_SET, set).kind, MAIL_FAULT);
    group->limits = *limits;
    group->changing = false;
    window_begin(&group->window);
}

const Sluice__ThrottleInfo *members_show(uint64_t id)
{
    Sluice__ThrottleDescribe *describe = MAIL_NEW(sluice__throttle_describe);
    describe->group = id;
    struct rig_answer answer = rig_ask(crew.throttle, MAIL_THROTTLE_DESCRIBE, describe);
    assert_int_not_equal(answer.kind, MAIL_FAULT);
    return ((const Sluice__ThrottleDescribed *)answer.body)->info;
}

/* --- Life */

void members_up(const struct limits *root)
{
    rig_up();
    memset(&crew, 0, sizeof crew);
    crew.throttle = rig_spawn(&throttle_type, "throttle");
    members_group(0, root);
}

void members_down(void)
{
    for (size_t i = 0; i < crew.n; i++) {
        rig_ask(crew.members[i]->address, MAIL_CLOSE, NULL);
    }
    for (uint64_t id = crew.ngroups; id; id--) {
        Sluice__ThrottleClose *close = MAIL_NEW(sluice__throttle_close);
        close->group = id;
        assert_int_not_equal(rig_ask(crew.throttle, MAIL_THROTTLE_CLOSE, close).kind, MAIL_FAULT);
    }
    rig_down();
}

/* --- What was measured */

void members_measure(void)
{
    for (size_t i = 0; i < crew.n; i++) {
        crew.members[i]->asks = 0;
        for (unsigned d = 0; d < 2; d++)
            crew.members[i]->streams[d].passed = crew.members[i]->streams[d].passed_bytes = 0;
    }
}

uint64_t members_passed(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < crew.n; i++)
        sum += crew.members[i]->streams[0].passed + crew.members[i]->streams[1].passed;
    return sum;
}

uint64_t members_asks(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < crew.n; i++)
        sum += crew.members[i]->asks;
    return sum;
}
