/* io_impl.h — what the sources of io-* requests share: io_request.c (what is asked) and io.c (how
 * it is done); not for others. */
#ifndef SLUICE_IO_IMPL_H
#define SLUICE_IO_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/account.h"
#include "actors/io.h"
#include "actors/kinds.h"
#include "drivers/driver.h"
#include "engine/op.h"

struct io_kind {
    const char *name; /* for sentences */
    uint8_t op;
    uint8_t needs; /* enum driver_perm */
    bool has_data;
    const char *lacking; /* what is the matter when the driver can't; null when that is no matter */
};

struct io {
    struct io *next, **link; /* in the list of those of one actor */
    struct actor *self;      /* null: who waited has been answered */
    struct reactor *reactor;
    Sluice__Request *request;
    const struct io_kind *kind;
    dispatch_done_fn *done;
    void *arg;

    const char *backend;
    uint64_t offset, bytes; /* what is asked; a truncation has no bytes; see enum op_kind */
    uint16_t flags;         /* of each operation */
    const ProtobufCBinaryData *given; /* what `data` begins with; null for nothing */
    uint64_t at;                      /* bytes done */
    actor_addr address;
    uint64_t claim, session;
    int64_t length; /* of the medium, when the session was opened */
    uint64_t chunk; /* bytes of one operation, at most */
    uint8_t *data;  /* the whole of what is moved, or what each operation fills its range with */
    size_t data_size;
    bool submitting, waiting, flushed;
    bool abandoned;      /* it does not wait any longer; see io_abandon() */
    uint64_t known;      /* make-zero: up to where it is known that there is something to zero */
    uint64_t left_alone; /* make-zero: bytes that were zeroes already */
    int64_t result;      /* of an ioctl */
    struct account_told told; /* what is refused without the backend, which looks at this */
    struct err err;
};

/* Takes in what `request` asks for: the kind, backend, range and flags. What can't be is refused,
 * with `err`. */
int io_request_check(struct io *io);

#endif
