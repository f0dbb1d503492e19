#include "rig.h"

#include "engine/engine.h"
#include "engine/port.h"
#include "engine/reactor_impl.h" /* to see what is left, and to move an actor from outside */

struct world rig_world;

static struct {
    unsigned seed;
    struct engine *engine;
    struct port *port;
    unsigned spawned, played;
    void (*on_mail)(const struct mail *mail);
    void **bodies; /* of answers */
    size_t nbodies;
} stage;

static unsigned threads(void)
{
    return stage.seed % 3 + 1;
}

bool rig_next_seed(unsigned seeds)
{
    const char *more = getenv("RIG_SEEDS");
    if (stage.seed == (more ? (unsigned)atoi(more) : seeds))
        return false;
    stage.seed++;
    print_message("--- seed %u, reactors: %u\n", stage.seed, threads());
    return true;
}

/* --- Life */

static void take_mail(struct port *port, struct mail *mail, void *arg)
{
    (void)port;
    (void)arg;
    if (stage.on_mail)
        stage.on_mail(mail);
}

void rig_up(void)
{
    struct err err = {0};
    struct engine_options options = {.threads = threads(),
                                     .bodies = mail_bodies,
                                     .nbodies = MAIL_COUNT,
                                     .world = &rig_world,
                                     .stepped = true,
                                     .seed = stage.seed};
    rig_world = (struct world){.threads = options.threads};
    stage.spawned = stage.played = 0;
    stage.on_mail = NULL;
    stage.engine = engine_new(&options, &err);
    if (!stage.engine)
        fail_msg("%s", err.text);
    stage.port = port_open(stage.engine, &err);
    if (!stage.port)
        fail_msg("%s", err.text);
    port_on_mail(stage.port, take_mail, NULL);
}

void rig_down(void)
{
    rig_run();
    unsigned actors = 0;
    for (unsigned i = 0; i < threads(); i++) {
        struct reactor *reactor = engine_reactor(stage.engine, i);
        actors += reactor_stats(reactor)->actors;
        assert_int_equal(reactor->peer.ops_used, 0);
        assert_int_equal(reactor_buffers(reactor)->held, 0);
        assert_int_equal(ring_pending(reactor_ring(reactor)), 0);
        assert_true(timers_next(reactor_timers(reactor)) == UINT64_MAX);
    }
    assert_int_equal(actors, stage.played);
    assert_int_equal(port_peer(stage.port)->ops_used, 0);
    port_close(&stage.port);
    engine_free(&stage.engine);
    while (stage.nbodies)
        mail_free_body(stage.bodies[--stage.nbodies]);
    free(stage.bodies);
    stage.bodies = NULL;
}

actor_addr rig_spawn(const struct actor_type *type, const char *name)
{
    unsigned reactor = (stage.seed / 3 + stage.spawned++) % threads();
    actor_addr address = engine_spawn(stage.engine, type, name, reactor);
    assert_true(address != 0);
    return address;
}

actor_addr rig_play(const struct actor_type *type)
{
    stage.played++;
    return rig_spawn(type, type->name);
}

/* --- Stepping */

void rig_run(void)
{
    port_poll(stage.port);
    do
        engine_settle(stage.engine);
    while (port_poll(stage.port));
}

void rig_until(const bool *so)
{
    for (int64_t end = rig_ms() + 20000; !*so;) {
        rig_run();
        if (!*so && rig_ms() > end)
            fail_msg("nothing has come for 20 s");
    }
}

void rig_advance(uint64_t ns)
{
    rig_run();
    engine_advance(stage.engine, ns);
    rig_run();
}

struct visit {
    struct work work;
    void (*fn)(void *arg);
    void *arg;
    bool done;
};

static void visit(struct work *work, struct reactor *reactor)
{
    (void)reactor;
    struct visit *visit = (struct visit *)work;
    visit->fn(visit->arg);
    visit->done = true;
}

static struct reactor *home_of(actor_addr actor)
{
    int home = directory_home(&engine_mesh(stage.engine)->directory, actor);
    assert_true(home > 0 && home <= (int)threads()); /* a peer; reactors are the first */
    return engine_reactor(stage.engine, (unsigned)home - 1);
}

void rig_at(actor_addr actor, void (*fn)(void *arg), void *arg)
{
    struct visit guest = {.work.run = visit, .fn = fn, .arg = arg};
    reactor_post(home_of(actor), &guest.work);
    rig_until(&guest.done);
}

static void move(void *arg)
{
    const actor_addr *address = arg;
    struct reactor *reactor = reactor_here();
    actor_move(reactor->present[address_slot(*address)], (reactor->id + 1) % threads());
}

void rig_move(actor_addr actor)
{
    rig_run();
    struct reactor *before = home_of(actor);
    rig_at(actor, move, &actor);
    rig_run();
    assert_true(threads() == 1 || home_of(actor) != before);
}

int64_t rig_ms(void)
{
    return (int64_t)(clock_ns(&(struct clock){0}) / NS_PER_MS);
}

void rig_for(int64_t ms)
{
    for (int64_t end = rig_ms() + ms; rig_ms() < end;)
        rig_run();
}

/* --- Mail */

static void answered(struct port *port, struct mail *reply, void *arg)
{
    (void)port;
    struct rig_answer *answer = arg;
    answer->came = true;
    answer->kind = reply->kind;
    if (mail_fault(reply)) {
        mail_fault_err(reply, &answer->err);
        return;
    }
    answer->body = reply->body;
    if (!reply->body)
        return;
    stage.bodies = realloc(stage.bodies, (stage.nbodies + 1) * sizeof *stage.bodies);
    assert_non_null(stage.bodies);
    stage.bodies[stage.nbodies++] = reply->body;
    reply->body = NULL;
}

void rig_tell(actor_addr to, unsigned kind, void *body)
{
    port_tell(stage.port, to, kind, body);
}

void rig_post(struct rig_answer *answer, actor_addr to, unsigned kind, void *body)
{
    *answer = (struct rig_answer){0};
    port_ask(stage.port, to, kind, body, answered, answer);
}

struct rig_answer rig_ask(actor_addr to, unsigned kind, void *body)
{
    struct rig_answer answer;
    rig_post(&answer, to, kind, body);
    rig_until(&answer.came);
    return answer;
}

void rig_on_mail(void (*fn)(const struct mail *mail))
{
    stage.on_mail = fn;
}

actor_addr rig_address(void)
{
    return port_address(stage.port);
}

/* --- Operations */

static void op_done(struct op *op, void *who)
{
    struct rig_op *mine = who;
    mine->ret = op->ret;
    mine->done = true;
    op_free(op);
}

static void start(struct rig_op *mine, actor_addr to, enum op_kind kind, int64_t offset,
                  uint64_t bytes, unsigned niov, unsigned flags)
{
    struct op *op = op_new(port_peer(stage.port));
    mine->done = false;
    op->kind = (uint8_t)kind;
    op->flags = (uint16_t)flags;
    op->offset = offset;
    op->bytes = bytes;
    op->niov = (uint16_t)niov;
    op->iov = mine->iov;
    mine->tag = op_tag(op);
    op_push(op, op_done, mine);
    op_send(op, to);
}

void rig_start(struct rig_op *op, actor_addr to, enum op_kind kind, int64_t offset,
               const void *data, uint64_t bytes, unsigned flags)
{
    op->iov[0] = (struct iovec){(void *)data, bytes};
    start(op, to, kind, offset, bytes, kind == OP_READ || kind == OP_WRITE, flags);
}

void rig_start_v(struct rig_op *op, actor_addr to, enum op_kind kind, int64_t offset, unsigned niov,
                 unsigned flags)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < niov; i++)
        bytes += op->iov[i].iov_len;
    start(op, to, kind, offset, bytes, niov, flags);
}

int64_t rig_io(actor_addr to, enum op_kind kind, int64_t offset, const void *data, uint64_t bytes,
               unsigned flags)
{
    struct rig_op op;
    rig_start(&op, to, kind, offset, data, bytes, flags);
    rig_until(&op.done);
    return op.ret;
}

int64_t rig_io_v(struct rig_op *op, actor_addr to, enum op_kind kind, int64_t offset, unsigned niov,
                 unsigned flags)
{
    rig_start_v(op, to, kind, offset, niov, flags);
    rig_until(&op->done);
    return op->ret;
}

void rig_cancel(const struct rig_op *op, actor_addr to)
{
    rig_io(to, OP_CANCEL, (int64_t)op->tag, NULL, 0, 0);
    rig_run();
}

bool rig_all(const void *data, uint64_t bytes, unsigned char value)
{
    const unsigned char *at = data;
    for (uint64_t i = 0; i < bytes; i++)
        if (at[i] != value)
            return false;
    return true;
}
