/* mock.c — a medium for tests of what stands above it: claims what it is told to claim, keeps a
 * list of what it was sent, and can hold completions until told. What can be set while it is open
 * is a script for it, over control.
 *
 * It keeps no data: reads give zeroes. VM state it keeps, up to 64 KiB. */
#include "drivers/driver.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/mem.h"
#include "proto/units.h"

#define LOG     64 /* entries kept */
#define LOGGED  80 /* bytes of one */
#define VMSTATE 65536
#define RANGES  16 /* of one option */

struct mock {
    struct op_queue held; /* requests whose completion waits */
    bool hold;
    uint64_t released; /* while it holds */
    bool cancels;      /* what is held can be cancelled */
    int error;         /* what requests end with, negative errno; 0: success */
    unsigned deny;     /* permissions */
    bool deny_activate;
    int64_t ioctl; /* what an ioctl ends with */
    char ioctl_data[LOGGED];
    struct mock_ranges {
        uint64_t from[RANGES], to[RANGES];
        unsigned n;
    } zero, unallocated; /* what it says of them when it is asked */
    uint64_t sent;       /* entries ever logged */
    char log[LOG][LOGGED];
    unsigned char *vmstate; /* VMSTATE bytes, or null before the first save */
    uint64_t vmstate_bytes;
};

static const struct option mock_options[] = {
    {.name = "size",
     .type = OPTION_SIZE,
     .preset = "1G",
     .max = INT64_MAX,
     .live = true,
     .help = "length of the medium"},
    {.name = "length-error",
     .type = OPTION_INTEGER,
     .preset = "0",
     .max = 4095,
     .live = true,
     .help = "the errno with which the length can't be told; 0: it can"},
    {.name = "can",
     .type = OPTION_STRING,
     .live = true,
     .preset = "discard, zeroes, fua, resize, flush, grow, unmap, ioctl, vmstate, compress, "
               "status, make-empty",
     .help = "what it claims to do, as words with commas between them"},
    {.name = "alignment",
     .type = OPTION_SIZE,
     .preset = "1",
     .min = 1,
     .max = 1 << 20,
     .help = "of requests; a power of two"},
    {.name = "max-transfer",
     .type = OPTION_SIZE,
     .preset = "0",
     .max = INT32_MAX,
     .help = "bytes of one read or write; 0: any"},
    {.name = "max-zeroes",
     .type = OPTION_SIZE,
     .preset = "0",
     .max = INT64_MAX,
     .help = "bytes of one zeroes or discard; 0: any"},
    {.name = "optimal-transfer",
     .type = OPTION_SIZE,
     .preset = "0",
     .max = INT32_MAX,
     .help = "bytes; 0: none known"},
    {.name = "max-vector",
     .type = OPTION_INTEGER,
     .preset = "0",
     .max = 1024,
     .help = "entries of one request; 0: 1024"},
    {.name = "read-only",
     .type = OPTION_SWITCH,
     .preset = "off",
     .live = true,
     .help = "whether it refuses changes"},
    {.name = "direct",
     .type = OPTION_SWITCH,
     .preset = "off",
     .live = true,
     .help = "whether it says that it passes the page cache by"},
    {.name = "deny",
     .type = OPTION_STRING,
     .preset = "",
     .live = true,
     .help = "permissions that it refuses, as words with commas between them"},
    {.name = "deny-activate",
     .type = OPTION_SWITCH,
     .preset = "off",
     .live = true,
     .help = "whether it refuses to be activated"},
    {.name = "empty",
     .type = OPTION_SWITCH,
     .preset = "off",
     .live = true,
     .help = "whether it says that no medium is in it"},
    {.name = "sg",
     .type = OPTION_SWITCH,
     .preset = "off",
     .live = true,
     .help = "whether it is SCSI-generic"},
    {.name = "logical-block",
     .type = OPTION_SIZE,
     .preset = "0",
     .max = 1 << 20,
     .live = true,
     .help = "bytes; 0: not known"},
    {.name = "physical-block",
     .type = OPTION_SIZE,
     .preset = "0",
     .max = 1 << 20,
     .live = true,
     .help = "bytes; 0: not known"},
    {.name = "cylinders",
     .type = OPTION_INTEGER,
     .preset = "0",
     .max = UINT32_MAX,
     .live = true,
     .help = "of its geometry; 0: not known"},
    {.name = "heads",
     .type = OPTION_INTEGER,
     .preset = "0",
     .max = 255,
     .live = true,
     .help = "of its geometry"},
    {.name = "sectors",
     .type = OPTION_INTEGER,
     .preset = "0",
     .max = 255,
     .live = true,
     .help = "of a track of its geometry"},
    {.name = "hold",
     .type = OPTION_SWITCH,
     .preset = "off",
     .live = true,
     .help = "whether completions wait; off lets those go that do"},
    {.name = "release",
     .type = OPTION_INTEGER,
     .preset = "0",
     .live = true,
     .help = "completions let go in all while it holds, the oldest first: raise it to let more go"},
    {.name = "cancel",
     .type = OPTION_SWITCH,
     .preset = "on",
     .live = true,
     .help =
         "whether a request that is held ends when it is cancelled; off lets it end as it would"},
    {.name = "error",
     .type = OPTION_INTEGER,
     .preset = "0",
     .max = 4095,
     .live = true,
     .help = "the errno that requests end with; 0: success"},
    {.name = "zero",
     .type = OPTION_STRING,
     .preset = "",
     .live = true,
     .help = "ranges that it says to be zeroes, as OFFSET+BYTES with commas between them"},
    {.name = "unallocated",
     .type = OPTION_STRING,
     .preset = "",
     .live = true,
     .help = "ranges that it says not to be allocated, written as those"},
    {.name = "ioctl-result",
     .type = OPTION_INTEGER,
     .preset = "0",
     .max = INT32_MAX,
     .live = true,
     .help = "what an ioctl returns"},
    {.name = "ioctl-data",
     .type = OPTION_STRING,
     .preset = "",
     .live = true,
     .help = "what an ioctl writes over its argument, as far as that goes"},
    {0},
};

/* --- The list of what it was sent */

static void note(struct mock *mock, const char *text)
{
    snprintf(mock->log[mock->sent++ % LOG], LOGGED, "%s", text);
}

static void note_op(struct mock *mock, const char *what, const struct op *op)
{
    static const char *const kinds[OP_KINDS] = {
        "?",        "read",  "write",        "zeroes",       "discard", "flush",
        "truncate", "ioctl", "save-vmstate", "load-vmstate", "status",  "make-empty",
    };
    static const struct {
        unsigned flag;
        const char *name;
    } flags[] = {
        {OP_FUA, "fua"},
        {OP_MAY_UNMAP, "unmap"},
        {OP_NO_FALLBACK, "no-fallback"},
        {OP_BEYOND_END, "beyond-end"},
        {OP_COMPRESSED, "compressed"},
        {OP_PREALLOC_METADATA, "metadata"},
        {OP_PREALLOC_FALLOC, "falloc"},
    };
    char text[LOGGED];
    int n = snprintf(text, sizeof text, "%s%s %" PRId64 "+%" PRIu64, what, kinds[op->kind],
                     op->offset, op->bytes);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (op->flags & flags[i].flag && n < (int)sizeof text)
            n += snprintf(text + n, sizeof text - (size_t)n, " %s", flags[i].name);
    note(mock, text);
}

/* --- Requests */

static void move_vmstate(struct mock *mock, const struct op *op)
{
    uint64_t at = (uint64_t)op->offset;
    if (!mock->vmstate)
        mock->vmstate = mem_new(VMSTATE);
    for (unsigned i = 0; i < op->niov; at += op->iov[i++].iov_len)
        if (op->kind == OP_SAVE_VMSTATE)
            memcpy(mock->vmstate + at, op->iov[i].iov_base, op->iov[i].iov_len);
        else
            memcpy(op->iov[i].iov_base, mock->vmstate + at, op->iov[i].iov_len);
}

static void answer_ioctl(const struct mock *mock, const struct op *op)
{
    size_t n = strlen(mock->ioctl_data);
    if (op->niov && n > op->iov->iov_len)
        n = op->iov->iov_len;
    if (op->niov && n)
        memcpy(op->iov->iov_base, mock->ioctl_data, n);
}

/* Whether `at` is in one of the ranges; brings `*end` down to where that may change. */
static bool in_ranges(const struct mock_ranges *ranges, uint64_t at, uint64_t *end)
{
    bool in = false;
    for (unsigned i = 0; i < ranges->n; i++) {
        bool here = ranges->from[i] <= at && at < ranges->to[i];
        uint64_t edge = here ? ranges->to[i] : ranges->from[i];
        if (edge > at && edge < *end)
            *end = edge;
        in |= here;
    }
    return in;
}

static int64_t status(const struct mock *mock, const struct op *op)
{
    uint64_t at = (uint64_t)op->offset, end = at + op->bytes;
    unsigned bits = in_ranges(&mock->zero, at, &end) ? OP_STATUS_ZERO : OP_STATUS_DATA;
    if (!in_ranges(&mock->unallocated, at, &end))
        bits |= OP_STATUS_ALLOCATED;
    return op_status(end - at, bits);
}

static int64_t perform(struct driver_node *node, struct op *op)
{
    struct mock *mock = node->state;
    int64_t end = op->offset + (int64_t)op->bytes;
    if (mock->error)
        return mock->error;
    switch (op->kind) {
    case OP_READ:
        driver_clear(op, 0);
        break;
    case OP_TRUNCATE:
        node->facts.length = op->offset;
        driver_changed(node);
        break;
    case OP_STATUS:
        return status(mock, op);
    case OP_IOCTL:
        answer_ioctl(mock, op);
        return mock->ioctl;
    case OP_SAVE_VMSTATE:
    case OP_LOAD_VMSTATE:
        if (op->offset < 0 || end > VMSTATE)
            return -ENOSPC;
        move_vmstate(mock, op);
        break;
    }
    if (op->flags & OP_BEYOND_END && end > node->facts.length) {
        node->facts.length = end;
        driver_changed(node);
    }
    return 0;
}

static void mock_submit(struct driver_node *node, struct op *op)
{
    struct mock *mock = node->state;
    note_op(mock, "", op);
    if (mock->hold)
        op_enqueue(&mock->held, op);
    else
        op_complete(op, perform(node, op));
}

/* Lets completions go until so many have gone. */
static void release(struct driver_node *node, uint64_t total)
{
    struct mock *mock = node->state;
    struct op *op;
    while (mock->released < total && (op = op_dequeue(&mock->held))) {
        mock->released++;
        op_complete(op, perform(node, op));
    }
    if (!mock->hold)
        mock->released = 0;
}

static bool mock_cancel(struct driver_node *node, struct op *op)
{
    struct mock *mock = node->state;
    note_op(mock, "cancel ", op);
    if (mock->cancels && op_unqueue(&mock->held, op))
        op_complete(op, -ECANCELED);
    return true;
}

static int mock_register_buf(struct driver_node *node, void *memory, size_t bytes)
{
    struct mock *mock = node->state;
    char text[LOGGED];
    (void)memory;
    snprintf(text, sizeof text, "register %zu bytes", bytes);
    note(mock, text);
    return mock->error;
}

static void mock_unregister_buf(struct driver_node *node, void *memory, size_t bytes)
{
    char text[LOGGED];
    (void)memory;
    snprintf(text, sizeof text, "unregister %zu bytes", bytes);
    note(node->state, text);
}

static void mock_abort(struct driver_node *node)
{
    struct mock *mock = node->state;
    struct op *op;
    mock->hold = false;
    while ((op = op_dequeue(&mock->held)))
        op_complete(op, -ESHUTDOWN);
}

/* --- What it claims */

/* The words of an option as bits, by their place among `names`. */
static int parse_words(const struct driver_node *node, const struct option_set *options,
                       const char *option, const char *const *names, size_t n, unsigned *out,
                       struct err *err)
{
    char *copy = mem_string(option_string(options, option)), *rest = NULL, known[160] = "";
    int ret = 0;
    *out = 0;
    for (char *word = strtok_r(copy, ", ", &rest); ret == 0 && word;
         word = strtok_r(NULL, ", ", &rest)) {
        size_t bit = 0;
        while (bit < n && strcmp(names[bit], word) != 0)
            bit++;
        if (bit < n) {
            *out |= 1u << bit;
            continue;
        }
        for (size_t i = 0, used = 0; i < n && used < sizeof known; i++)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                     names[i]);
        ret = err_field(err, option, -EINVAL, "node %s: '%.40s' is no word for %s; words are %s",
                        node->name, word, option, known);
    }
    free(copy);
    return ret;
}

/* "0+64K, 1M+1M", each in whole blocks. */
static int parse_ranges(const struct driver_node *node, const struct option_set *options,
                        const char *option, struct mock_ranges *out, struct err *err)
{
    char *copy = mem_string(option_string(options, option)), *rest = NULL;
    uint64_t mask = option_number(options, "alignment") - 1;
    int ret = 0;
    out->n = 0;
    for (char *word = strtok_r(copy, ", ", &rest); ret == 0 && word;
         word = strtok_r(NULL, ", ", &rest)) {
        char *plus = strchr(word, '+');
        uint64_t from, bytes;
        if (plus)
            *plus = '\0';
        if (!plus || units_parse_size(word, &from) < 0 || units_parse_size(plus + 1, &bytes) < 0 ||
            (from | bytes) & mask || bytes > INT64_MAX || from > INT64_MAX || out->n == RANGES)
            ret = err_field(err, option, -EINVAL,
                            "node %s: %s takes ranges like 64K+1M, in whole blocks, %d at most",
                            node->name, option, RANGES);
        else
            out->from[out->n] = from, out->to[out->n++] = from + bytes;
    }
    free(copy);
    return ret;
}

static int mock_facts(struct driver_node *node, const struct option_set *options, struct err *err)
{
    unsigned can, deny;
    uint64_t alignment = option_number(options, "alignment");
    if (alignment & (alignment - 1))
        return err_field(err, "alignment", -EINVAL,
                         "node %s: an alignment is a power of two, which %" PRIu64 " is not",
                         node->name, alignment);
    if (parse_words(node, options, "can", driver_can_names, DRIVER_CANS, &can, err) < 0 ||
        parse_words(node, options, "deny", driver_perm_names, PERMS, &deny, err) < 0)
        return err->code;
    struct mock_ranges zero = {0}, unallocated = {0};
    if (parse_ranges(node, options, "zero", &zero, err) < 0 ||
        parse_ranges(node, options, "unallocated", &unallocated, err) < 0)
        return err->code;
    int64_t length = (int64_t)(option_number(options, "size") & ~(alignment - 1));
    int64_t error = (int64_t)option_number(options, "length-error");
    node->facts = (struct driver_facts){
        .length = error ? -error : length,
        .alignment = (uint32_t)alignment,
        .max_transfer = option_number(options, "max-transfer"),
        .max_zeroes = option_number(options, "max-zeroes"),
        .optimal_transfer = option_number(options, "optimal-transfer"),
        .max_vector = (uint32_t)option_number(options, "max-vector"),
        .read_only = option_switch(options, "read-only"),
        .direct = option_switch(options, "direct"),
        .can = can,
        .empty = option_switch(options, "empty"),
        .sg = option_switch(options, "sg"),
        .logical_block = (uint32_t)option_number(options, "logical-block"),
        .physical_block = (uint32_t)option_number(options, "physical-block"),
        .cylinders = (uint32_t)option_number(options, "cylinders"),
        .heads = (uint32_t)option_number(options, "heads"),
        .sectors = (uint32_t)option_number(options, "sectors"),
    };
    struct mock *mock = node->state;
    mock->deny = deny;
    mock->deny_activate = option_switch(options, "deny-activate");
    mock->zero = zero;
    mock->unallocated = unallocated;
    mock->hold = option_switch(options, "hold");
    mock->cancels = option_switch(options, "cancel");
    mock->error = -(int)option_number(options, "error");
    mock->ioctl = (int64_t)option_number(options, "ioctl-result");
    snprintf(mock->ioctl_data, sizeof mock->ioctl_data, "%s", option_string(options, "ioctl-data"));
    return 0;
}

static int mock_set(struct driver_node *node, const struct option_set *options, struct err *err)
{
    struct mock *mock = node->state;
    int ret = mock_facts(node, options, err);
    if (ret < 0)
        return ret;
    driver_changed(node);
    release(node, mock->hold ? option_number(options, "release") : UINT64_MAX);
    return 0;
}

static int mock_permit(struct driver_node *node, struct driver_perms perms, struct err *err)
{
    const struct mock *mock = node->state;
    unsigned denied = perms.perm & mock->deny;
    return denied ? err_set(err, -EPERM, "node '%s' gives nobody '%s': its option deny says so",
                            node->name, driver_perm_names[__builtin_ctz(denied)])
                  : 0;
}

static void mock_eject(struct driver_node *node, bool eject)
{
    note(node->state, eject ? "eject" : "load");
}

static void mock_lock_medium(struct driver_node *node, bool lock)
{
    note(node->state, lock ? "lock" : "unlock");
}

static void mock_activate(struct driver_node *node, driver_opened_fn *done)
{
    struct mock *mock = node->state;
    struct err err = {0};
    note(mock, "activate");
    if (mock->deny_activate)
        err_set(&err, -EBUSY, "node '%s' is not activated: its option deny-activate says so",
                node->name);
    done(node, err.code, &err);
}

static void mock_inactivate(struct driver_node *node)
{
    note(node->state, "inactivate");
}

static void mock_open(struct driver_node *node, driver_opened_fn *opened)
{
    struct mock *mock = node->state;
    struct err err = {0};
    op_queue_init(&mock->held);
    int ret = mock_facts(node, node->options, &err);
    opened(node, ret, &err);
}

/* Ends as a request would; what another has done to it is set by `size` and the like. */
static void mock_invalidate(struct driver_node *node, driver_opened_fn *done)
{
    struct mock *mock = node->state;
    note(mock, "invalidate");
    done(node, mock->error, NULL);
}

static void mock_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    struct mock *mock = node->state;
    free(mock->vmstate);
    closed(node);
}

static void mock_describe(struct driver_node *node, driver_tell_fn *tell, void *to)
{
    const struct mock *mock = node->state;
    char name[32], value[32];
    snprintf(value, sizeof value, "%zu", mock->held.count);
    tell(to, "held", value);
    for (uint64_t i = mock->sent > LOG ? mock->sent - LOG : 0; i < mock->sent; i++) {
        snprintf(name, sizeof name, "sent-%" PRIu64, i + 1);
        tell(to, name, mock->log[i % LOG]);
    }
}

const struct driver driver_mock = {
    .name = "mock",
    .help =
        "Claims what it is told, keeps a list of what it was sent, holds completions; for tests",
    .options = mock_options,
    .size = sizeof(struct mock),
    .open = mock_open,
    .close = mock_close,
    .submit = mock_submit,
    .cancel = mock_cancel,
    .register_buf = mock_register_buf,
    .unregister_buf = mock_unregister_buf,
    .abort = mock_abort,
    .set = mock_set,
    .permit = mock_permit,
    .eject = mock_eject,
    .lock_medium = mock_lock_medium,
    .invalidate = mock_invalidate,
    .activate = mock_activate,
    .inactivate = mock_inactivate,
    .describe = mock_describe,
};
