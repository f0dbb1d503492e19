/* memory.c — a medium in memory that takes room only for what was written.
 *
 * Data is kept in pages of 64 KiB, found through a tree of tables of 512 entries. The tree is as
 * high as the furthest written page asks for, so a small medium costs one table and the largest
 * (8 EiB) six levels. A page or table that becomes empty is freed. */
#include "drivers/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BITS  16
#define PAGE_BYTES (UINT64_C(1) << PAGE_BITS)
#define TABLE_BITS 9
#define TABLE_SIZE (1u << TABLE_BITS)

struct table {
    void *slots[TABLE_SIZE]; /* tables of the level below; on level 0, pages */
    unsigned used;
};

struct memory {
    struct table *root; /* null while nothing is kept */
    unsigned level;     /* of the root */
    uint64_t pages, max_pages;
};

static const struct option memory_options[] = {
    {.name = "size",
     .type = OPTION_SIZE,
     .required = true,
     .max = INT64_MAX,
     .help = "length of the medium"},
    {.name = "limit",
     .type = OPTION_SIZE,
     .min = PAGE_BYTES,
     .help = "memory that its data may take, in pages of 64K; left out, as much as there is"},
    {0},
};

/* --- Pages */

/* Pages under one entry of a table on this level. */
static uint64_t entry_pages(unsigned level)
{
    return UINT64_C(1) << (TABLE_BITS * level);
}

static unsigned entry_index(uint64_t page, unsigned level)
{
    return (unsigned)(page >> (TABLE_BITS * level)) & (TABLE_SIZE - 1);
}

static bool in_tree(const struct memory *memory, uint64_t page)
{
    return memory->root && page >> (TABLE_BITS * memory->level) < TABLE_SIZE;
}

/* The page, or null when nothing is kept of it. */
static unsigned char *page_find(const struct memory *memory, uint64_t page)
{
    if (!in_tree(memory, page))
        return NULL;
    void *at = memory->root;
    for (unsigned level = memory->level + 1; at && level-- > 0;)
        at = ((struct table *)at)->slots[entry_index(page, level)];
    return at;
}

/* The first page from `page` on that is kept, among those under `table`, whose own first page is
 * `base`; UINT64_MAX when there is none. */
static uint64_t table_next(const struct table *table, unsigned level, uint64_t base, uint64_t page)
{
    uint64_t each = entry_pages(level);
    for (unsigned i = page > base ? (unsigned)((page - base) / each) : 0; i < TABLE_SIZE; i++) {
        if (!table->slots[i])
            continue;
        if (!level)
            return base + i;
        uint64_t found = table_next(table->slots[i], level - 1, base + i * each, page);
        if (found != UINT64_MAX)
            return found;
    }
    return UINT64_MAX;
}

static uint64_t page_next(const struct memory *memory, uint64_t page)
{
    return in_tree(memory, page) ? table_next(memory->root, memory->level, 0, page) : UINT64_MAX;
}

/* The page, made of zeroes when there was none; null when there is no room for it. Tables that were
 * made on the way to a page without room stay empty until they are used or the medium is closed. */
static unsigned char *page_make(struct memory *memory, uint64_t page)
{
    unsigned char *found = page_find(memory, page);
    if (found)
        return found;
    if (memory->pages == memory->max_pages)
        return NULL;
    if (!memory->root && !(memory->root = calloc(1, sizeof(struct table))))
        return NULL;
    while (!in_tree(memory, page)) {
        struct table *above = calloc(1, sizeof(*above));
        if (!above)
            return NULL;
        above->slots[0] = memory->root;
        above->used = 1;
        memory->root = above;
        memory->level++;
    }
    struct table *table = memory->root;
    for (unsigned level = memory->level;; level--) {
        void **slot = &table->slots[entry_index(page, level)];
        if (!*slot) {
            *slot = calloc(1, level ? sizeof(struct table) : PAGE_BYTES);
            if (!*slot)
                return NULL;
            table->used++;
            memory->pages += !level;
        }
        if (!level)
            return *slot;
        table = *slot;
    }
}

/* Frees pages `first` to `last` of those under `table`, whose own first page is `base`; returns
 * whether the table is empty then. */
static bool table_drop(struct memory *memory, struct table *table, unsigned level, uint64_t base,
                       uint64_t first, uint64_t last)
{
    uint64_t each = entry_pages(level);
    unsigned from = first > base ? (unsigned)((first - base) / each) : 0;
    for (unsigned i = from; i < TABLE_SIZE && base + i * each <= last; i++) {
        void *slot = table->slots[i];
        if (!slot || (level && !table_drop(memory, slot, level - 1, base + i * each, first, last)))
            continue;
        free(slot);
        table->slots[i] = NULL;
        table->used--;
        memory->pages -= !level;
    }
    return table->used == 0;
}

static void pages_drop(struct memory *memory, uint64_t first, uint64_t last)
{
    if (!memory->root || !table_drop(memory, memory->root, memory->level, 0, first, last))
        return;
    free(memory->root);
    memory->root = NULL;
    memory->level = 0;
}

/* --- Requests */

static uint64_t part_of_page(uint64_t offset, uint64_t bytes)
{
    uint64_t rest = PAGE_BYTES - (offset & (PAGE_BYTES - 1));
    return bytes < rest ? bytes : rest;
}

static int memory_read(struct memory *memory, uint64_t offset, unsigned char *out, uint64_t bytes)
{
    for (uint64_t n; bytes; offset += n, out += n, bytes -= n) {
        const unsigned char *page = page_find(memory, offset >> PAGE_BITS);
        n = part_of_page(offset, bytes);
        if (page)
            memcpy(out, page + (offset & (PAGE_BYTES - 1)), n);
        else
            memset(out, 0, n);
    }
    return 0;
}

static int memory_write(struct memory *memory, uint64_t offset, unsigned char *in, uint64_t bytes)
{
    for (uint64_t n; bytes; offset += n, in += n, bytes -= n) {
        unsigned char *page = page_make(memory, offset >> PAGE_BITS);
        if (!page)
            return -ENOSPC;
        n = part_of_page(offset, bytes);
        memcpy(page + (offset & (PAGE_BYTES - 1)), in, n);
    }
    return 0;
}

static int memory_copy(struct memory *memory, const struct op *op,
                       int (*copy)(struct memory *, uint64_t, unsigned char *, uint64_t))
{
    uint64_t offset = (uint64_t)op->offset;
    for (unsigned i = 0; i < op->niov; i++) {
        int ret = copy(memory, offset, op->iov[i].iov_base, op->iov[i].iov_len);
        if (ret < 0)
            return ret;
        offset += op->iov[i].iov_len;
    }
    return 0;
}

static void clear_in_page(struct memory *memory, uint64_t offset, uint64_t bytes)
{
    unsigned char *page = page_find(memory, offset >> PAGE_BITS);
    if (page)
        memset(page + (offset & (PAGE_BYTES - 1)), 0, bytes);
}

/* The range reads as zeroes from now on. Whole pages are freed when `unmap`, so that those of a
 * range that is to stay written keep their room. */
static void memory_clear(struct memory *memory, uint64_t offset, uint64_t bytes, bool unmap)
{
    for (uint64_t n; bytes; offset += n, bytes -= n) {
        n = part_of_page(offset, bytes);
        if (unmap && n == PAGE_BYTES) {
            n = bytes & ~(PAGE_BYTES - 1);
            pages_drop(memory, offset >> PAGE_BITS, (offset + n - 1) >> PAGE_BITS);
        } else {
            clear_in_page(memory, offset, n);
        }
    }
}

static int memory_truncate(struct driver_node *node, int64_t length, unsigned flags)
{
    if (flags & OP_PREALLOC)
        return -ENOTSUP;
    if (length < node->facts.length)
        memory_clear(node->state, (uint64_t)length, (uint64_t)(node->facts.length - length), true);
    node->facts.length = length;
    driver_changed(node);
    return 0;
}

/* A page that is kept is data, whatever is in it. */
static int64_t memory_status(const struct memory *memory, uint64_t offset, uint64_t bytes)
{
    uint64_t page = offset >> PAGE_BITS, last = (offset + bytes - 1) >> PAGE_BITS;
    bool data = page_find(memory, page);
    uint64_t end = data ? page + 1 : page_next(memory, page);
    while (data && end <= last && page_find(memory, end))
        end++;
    uint64_t run = end > last ? bytes : (end << PAGE_BITS) - offset;
    return op_status(run, OP_STATUS_ALLOCATED | (data ? OP_STATUS_DATA : OP_STATUS_ZERO));
}

static void memory_submit(struct driver_node *node, struct op *op)
{
    struct memory *memory = node->state;
    int64_t end = op->offset + (int64_t)op->bytes;
    int64_t ret = 0;

    switch (op->kind) {
    case OP_READ:
        ret = memory_copy(memory, op, memory_read);
        break;
    case OP_WRITE:
        ret = memory_copy(memory, op, memory_write);
        break;
    case OP_ZEROES:
        memory_clear(memory, (uint64_t)op->offset, op->bytes, op->flags & OP_MAY_UNMAP);
        break;
    case OP_DISCARD:
        memory_clear(memory, (uint64_t)op->offset, op->bytes, true);
        break;
    case OP_TRUNCATE:
        ret = memory_truncate(node, op->offset, op->flags);
        break;
    case OP_STATUS:
        ret = memory_status(memory, (uint64_t)op->offset, op->bytes);
        break;
    }
    if (op->flags & OP_BEYOND_END && ret == 0 && end > node->facts.length) {
        node->facts.length = end;
        driver_changed(node);
    }
    op_complete(op, ret);
}

static void memory_open(struct driver_node *node, driver_opened_fn *opened)
{
    struct memory *memory = node->state;
    memory->max_pages = option_given(node->options, "limit")
                            ? option_number(node->options, "limit") >> PAGE_BITS
                            : UINT64_MAX;
    node->facts = (struct driver_facts){
        .length = (int64_t)option_number(node->options, "size"),
        .alignment = 1,
        .can = DRIVER_CAN_DISCARD | DRIVER_CAN_ZEROES | DRIVER_CAN_FUA | DRIVER_CAN_RESIZE |
               DRIVER_CAN_GROW | DRIVER_CAN_UNMAP | DRIVER_CAN_STATUS,
    };
    opened(node, 0, NULL);
}

static void memory_close(struct driver_node *node, void (*closed)(struct driver_node *node))
{
    pages_drop(node->state, 0, UINT64_MAX >> PAGE_BITS);
    closed(node);
}

const struct driver driver_memory = {
    .name = "memory",
    .help = "Keeps data in memory, in pages that are taken as they are written",
    .options = memory_options,
    .size = sizeof(struct memory),
    .open = memory_open,
    .close = memory_close,
    .submit = memory_submit,
};
