/* backend_info.c — a backend's description, and what of it can be set while it runs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actors/backend_impl.h"
#include "actors/facts.h"
#include "engine/mem.h"
#include "engine/reactor.h"
#include "proto/units.h"

/* --- What frontends count */

void backend_hear(struct backend *backend, struct session *session)
{
    if (session->told)
        account_hear(&backend->account, session->told, &session->heard, backend->counted);
}

static void hear_all(struct backend *backend)
{
    for (struct session *session = backend->sessions; session; session = session->next)
        backend_hear(backend, session);
}

/* --- Description */

static void add_interval(Sluice__OpCounters *out, const struct account *account, unsigned kind,
                         size_t window, uint64_t now)
{
    struct account_interval told;
    account_interval(account, kind, window, now, &told);
    Sluice__Interval *interval = MAIL_NEW(sluice__interval);
    interval->length_ns = told.length;
    interval->operations = told.count;
    interval->has_min_ns = interval->has_average_ns = interval->has_max_ns = told.count;
    interval->min_ns = told.min;
    interval->average_ns = told.average;
    interval->max_ns = told.max;
    interval->has_queue_depth = true;
    interval->queue_depth = told.queue_depth;
    out->intervals[out->n_intervals++] = interval;
}

static void add_bins(Sluice__OpCounters *out, const struct account_kind *kind)
{
    out->histogram = mem_new((kind->nbounds + 1) * sizeof *out->histogram);
    for (size_t i = 0; i <= kind->nbounds; i++) {
        Sluice__Bin *bin = MAIL_NEW(sluice__bin);
        bin->has_below_ns = i < kind->nbounds;
        bin->below_ns = bin->has_below_ns ? kind->bounds[i] : 0;
        bin->operations = kind->bins[i];
        out->histogram[out->n_histogram++] = bin;
    }
}

static void add_quantiles(Sluice__OpCounters *out, const struct histogram *latencies)
{
    out->has_p50_ns = out->has_p90_ns = out->has_p99_ns = out->has_p999_ns = out->has_max_ns = true;
    out->p50_ns = histogram_quantile(latencies, 0.5);
    out->p90_ns = histogram_quantile(latencies, 0.9);
    out->p99_ns = histogram_quantile(latencies, 0.99);
    out->p999_ns = histogram_quantile(latencies, 0.999);
    out->max_ns = latencies->max;
}

static Sluice__OpCounters *counters(const struct account *account, unsigned number, uint64_t now)
{
    const struct account_kind *kind = &account->kinds[number];
    Sluice__OpCounters *out = MAIL_NEW(sluice__op_counters);
    out->has_operations = out->has_bytes = out->has_failed = out->has_invalid = true;
    out->has_merged = out->has_time_ns = true;
    out->operations = kind->operations;
    out->bytes = kind->bytes;
    out->failed = kind->failed;
    out->invalid = kind->invalid;
    out->merged = kind->merged;
    out->time_ns = kind->time;
    if (kind->latencies)
        add_quantiles(out, kind->latencies);
    if (account->nwindows)
        out->intervals = mem_new(account->nwindows * sizeof *out->intervals);
    for (size_t i = 0; i < account->nwindows; i++)
        add_interval(out, account, number, i, now);
    if (kind->nbounds)
        add_bins(out, kind);
    return out;
}

static Sluice__RunState run_state(const struct backend *backend)
{
    if (backend->pauses & PAUSE_ERROR)
        return SLUICE__RUN_STATE__STOPPED;
    return backend->pauses ? SLUICE__RUN_STATE__PAUSED : SLUICE__RUN_STATE__RUNNING;
}

static void describe_account(struct backend *backend, Sluice__BackendInfo *info)
{
    struct account *account = &backend->account;
    uint64_t now = reactor_now(actor_reactor(backend->self));
    account_settle(account, now);
    hear_all(backend);
    info->read = counters(account, OP_READ, now);
    info->write = counters(account, OP_WRITE, now);
    info->zeroes = counters(account, OP_ZEROES, now);
    info->discard = counters(account, OP_DISCARD, now);
    info->flush = counters(account, OP_FLUSH, now);
    info->truncate = counters(account, OP_TRUNCATE, now);
    info->ioctl = counters(account, OP_IOCTL, now);
    info->save_vmstate = counters(account, OP_SAVE_VMSTATE, now);
    info->load_vmstate = counters(account, OP_LOAD_VMSTATE, now);
    info->has_highest_written_bytes = true;
    info->highest_written_bytes = account->highest_written;
    info->has_accounting = true;
    info->accounting = backend->counted != 0;
    info->has_idle_ns = account->used;
    /* A frontend's clock may be ahead of this reactor's turn. */
    info->idle_ns = account->used && now > account->last ? now - account->last : 0;
}

/* Whether an error can stop it: only then there is a status to keep. */
static bool stops(Sluice__OnError__Policy policy)
{
    return policy == SLUICE__ON_ERROR__POLICY__STOP || policy == SLUICE__ON_ERROR__POLICY__ENOSPC;
}

/* What a device is is told of one that is there; limits always. */
static void describe_facts(const struct backend *backend, Sluice__BackendInfo *info)
{
    const struct driver_facts *facts = &backend->facts;
    info->has_inserted = info->has_alignment = info->has_max_transfer = true;
    info->has_max_vector = info->has_sg = info->has_guest_block_size = true;
    info->inserted = backend->inserted;
    info->alignment = facts_alignment(facts);
    info->max_transfer = facts_max_transfer(facts);
    info->max_vector = facts_max_vector(facts);
    info->has_optimal_transfer = facts->optimal_transfer;
    info->optimal_transfer = facts->optimal_transfer;
    info->sg = facts->sg;
    info->guest_block_size = backend->guest_block_size;
    info->has_logical_block = info->has_physical_block =
        backend->inserted && facts_have_blocksizes(facts);
    info->logical_block = facts->logical_block;
    info->physical_block = facts->physical_block;
    info->has_cylinders = info->has_heads = info->has_sectors =
        backend->inserted && facts_have_geometry(facts);
    info->cylinders = facts->cylinders;
    info->heads = facts->heads;
    info->sectors = facts->sectors;
}

static void add_flags(unsigned flags, char ***out, size_t *n)
{
    *out = mem_new(OPEN_FLAGS * sizeof **out);
    for (unsigned bit = 0; bit < OPEN_FLAGS; bit++)
        if (flags >> bit & 1)
            mail_set(&(*out)[(*n)++], backend_flag_names[bit]);
}

static void describe_root(const struct backend *backend, Sluice__BackendInfo *info)
{
    info->has_detect_zeroes = true;
    info->detect_zeroes = backend->detect_zeroes;
    add_flags(backend->open_flags, &info->flags, &info->n_flags);
    add_flags(backend_reopen_flags(backend), &info->reopen_flags, &info->n_reopen_flags);
}

void backend_on_describe(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    Sluice__BackendInfo *info = MAIL_NEW(sluice__backend_info);
    mail_set(&info->name, actor_name(self));
    if (backend->node_name)
        mail_set(&info->node, backend->node_name);
    info->has_length = backend->inserted && backend->facts.length >= 0;
    info->length = info->has_length ? (uint64_t)backend->facts.length : 0;
    info->has_read_only = info->has_reactor = info->has_in_flight = info->has_queued = true;
    info->has_queued_bytes = info->has_granted = info->has_limit = true;
    info->has_granted_bytes = info->has_limit_bytes = true;
    info->has_run_state = info->has_held = info->has_werror = info->has_rerror = true;
    info->has_io_status =
        backend->keeps_io_status && (stops(backend->on_error) || stops(backend->on_read_error));
    info->has_write_cache = true;
    info->write_cache = !backend->write_through;
    info->read_only = backend->read_only;
    info->reactor = reactor_id(actor_reactor(self));
    info->in_flight = backend->in_flight;
    info->queued = backend->queue.count;
    info->queued_bytes = backend->queued_bytes;
    info->held = backend->held.count;
    info->has_held_bytes = true;
    for (const struct op *op = backend->held.head; op; op = op->next)
        info->held_bytes += op->bytes;
    info->granted = backend->granted;
    info->limit = backend->limit;
    info->granted_bytes = backend->granted_bytes;
    info->limit_bytes = backend->limit_bytes;
    info->run_state = run_state(backend);
    info->io_status = backend->io_status;
    info->werror = backend->on_error;
    info->rerror = backend->on_read_error;
    info->has_stop = info->has_account_failed = true;
    info->stop = backend->stop_scope;
    info->account_failed = backend->account.count_failed;
    describe_facts(backend, info);
    backend_device_describe(backend, info);
    describe_root(backend, info);
    describe_account(backend, info);
    actor_reply(self, mail_ticket(mail), MAIL_BACKEND_INFO, info);
}

/* --- Settings */

/* Durations with blanks between them. Returns how many, or a negative errno with a sentence. */
static int parse_durations(const char *field, const char *text, uint64_t *out, size_t most,
                           bool rising, struct err *err)
{
    char *copy = mem_string(text), *rest = NULL;
    int ret = 0;
    for (char *word = strtok_r(copy, " ", &rest); ret >= 0 && word;
         word = strtok_r(NULL, " ", &rest)) {
        uint64_t ns;
        if ((size_t)ret == most)
            ret = err_field(err, field, -EINVAL, "%s takes %zu times at most", field, most);
        else if (units_parse_duration(word, &ns) < 0 || ns == 0)
            ret = err_field(err, field, -EINVAL, "'%.40s' in %s is no time above 0; give %s", word,
                            field, UNITS_DURATION_FORM);
        else if (rising && ret && ns <= out[ret - 1])
            ret = err_field(err, field, -EINVAL,
                            "the times in %s must rise, but '%.40s' is not above the one before it",
                            field, word);
        else
            out[ret++] = ns;
    }
    free(copy);
    return ret;
}

static int check_guest_block_size(uint32_t bytes, struct err *err)
{
    if (bytes >= GUEST_BLOCK && bytes <= GUEST_BLOCK_MAX && !(bytes & (bytes - 1)))
        return 0;
    return err_field(err, "guest-block-size", -EINVAL,
                     "a guest's block size is a power of two from %u to %u, which %u is not",
                     GUEST_BLOCK, GUEST_BLOCK_MAX, bytes);
}

/* All is checked before anything is changed. */
static int set(struct backend *backend, const Sluice__BackendSet *set, struct err *err)
{
    uint64_t windows[ACCOUNT_WINDOWS], bounds[ACCOUNT_BOUNDS];
    int nwindows = 0, nbounds = 0;
    if (set->intervals)
        nwindows =
            parse_durations("intervals", set->intervals, windows, ACCOUNT_WINDOWS, false, err);
    if (nwindows >= 0 && set->histogram)
        nbounds = parse_durations("histogram", set->histogram, bounds, ACCOUNT_BOUNDS, true, err);
    if (nwindows < 0 || nbounds < 0 ||
        (set->has_guest_block_size && check_guest_block_size(set->guest_block_size, err) < 0))
        return err->code;
    /* What ran until now belongs to what was chosen until now. */
    account_settle(&backend->account, reactor_now(actor_reactor(backend->self)));
    hear_all(backend);
    if (set->has_werror)
        backend->on_error = set->werror;
    if (set->has_rerror)
        backend->on_read_error = set->rerror;
    if (set->has_stop)
        backend->stop_scope = set->stop;
    if (set->has_io_status) {
        backend->keeps_io_status = set->io_status;
        backend_reset_io_status(backend);
    }
    if (set->has_write_cache)
        backend->write_through = !set->write_cache;
    if (set->has_guest_block_size)
        backend->guest_block_size = set->guest_block_size;
    if (set->has_detect_zeroes)
        backend->detect_zeroes = set->detect_zeroes;
    if (set->has_accounting)
        backend_set_accounting(backend, set->accounting);
    if (set->has_account_failed)
        backend->account.count_failed = set->account_failed;
    if (set->intervals)
        account_set_windows(&backend->account, windows, (size_t)nwindows);
    for (unsigned kind = 0; set->histogram && kind < OP_KINDS; kind++)
        account_set_bounds(&backend->account, kind, bounds, (size_t)nbounds);
    return 0;
}

void backend_on_set(struct actor *self, struct mail *mail)
{
    struct err err = {0};
    if (set(actor_state(self), (const Sluice__BackendSet *)mail->body, &err) < 0)
        actor_refuse(self, mail_ticket(mail), &err);
    else
        actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}
