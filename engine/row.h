/* row.h — the words in which a row of the I/O lane says what kind of operation it is, where it goes
 * and for whose sake: columns `op` and `to` of a Frame, see proto/lane.proto. For op.c and peer.c.
 */
#ifndef SLUICE_ROW_H
#define SLUICE_ROW_H

#include <limits.h>

#include "engine/directory.h"
#include "engine/op.h"

enum row_place {
    ROW_KIND = 0,
    ROW_HOLDER = 4,
    ROW_FLAGS = 9,
    ROW_NIOV = 25,
    ROW_SEQUENCE = 36,
};

#define ROW_FLAGS_WITH(sign)                                                                       \
    (OP_FUA sign OP_MAY_UNMAP sign OP_NO_FALLBACK sign OP_PREALLOC sign OP_BEYOND_END sign         \
         OP_COMPRESSED sign OP_UNTHROTTLED sign OP_DRAINING sign OP_OWN_MEMORY sign                \
             OP_KEEPS_LENGTH)

#define ROW_USER      16
#define ROW_USER_MASK (UINT64_C(0xffff) << ROW_USER)

_Static_assert(DIRECTORY_SLOTS <= 1 << ROW_USER, "a slot is short");
_Static_assert(OP_ALL_KINDS <= 1 << (ROW_HOLDER - ROW_KIND), "a kind fits");
_Static_assert(OP_HOLDERS < 1 << (ROW_FLAGS - ROW_HOLDER), "so does a holder's number,");
_Static_assert(ROW_FLAGS_WITH(|) < 1 << (ROW_NIOV - ROW_FLAGS), "all flags,");
_Static_assert(ROW_FLAGS_WITH(+) == ROW_FLAGS_WITH(|), "each with bits of its own,");
_Static_assert(IOV_MAX < 1 << (ROW_SEQUENCE - ROW_NIOV), "the longest vector,");
_Static_assert(ROW_SEQUENCE + OP_SEQUENCE_BITS == 64, "and the count");

static inline uint64_t row_to(const struct op *op)
{
    return op->to | (uint64_t)op->user << ROW_USER;
}

/* The address; the user is in the rest. */
static inline uint64_t row_address(uint64_t to)
{
    return to & ~ROW_USER_MASK;
}

static inline uint16_t row_user(uint64_t to)
{
    return (uint16_t)(to >> ROW_USER);
}

static inline uint64_t row_word(const struct op *op)
{
    return (uint64_t)op->kind << ROW_KIND | (uint64_t)op->holder << ROW_HOLDER |
           (uint64_t)op->flags << ROW_FLAGS | (uint64_t)op->niov << ROW_NIOV |
           (uint64_t)op->sequence << ROW_SEQUENCE;
}

static inline void row_take(struct op *op, uint64_t word)
{
    op->kind = word & ((1 << ROW_HOLDER) - 1);
    op->holder = word >> ROW_HOLDER & ((1 << (ROW_FLAGS - ROW_HOLDER)) - 1);
    op->flags = word >> ROW_FLAGS & ((1 << (ROW_NIOV - ROW_FLAGS)) - 1);
    op->niov = word >> ROW_NIOV & ((1 << (ROW_SEQUENCE - ROW_NIOV)) - 1);
    op->sequence = (uint32_t)(word >> ROW_SEQUENCE);
}

#endif
