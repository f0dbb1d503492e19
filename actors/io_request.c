/* io_request.c — io-* requests: what each asks for, and what of it can't be. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "actors/io_impl.h"

#define VMSTATE                                                                                    \
    "the medium's driver keeps no state of virtual machines; choose one that can \"vmstate\" "     \
    "(see "                                                                                        \
    "node-show)"

static const struct io_kind kinds[] = {
    [SLUICE__REQUEST__BODY_IO_READ] = {"io-read", OP_READ, PERM_CONSISTENT_READ, true},
    [SLUICE__REQUEST__BODY_IO_WRITE] = {"io-write", OP_WRITE, PERM_WRITE, true},
    [SLUICE__REQUEST__BODY_IO_FLUSH] = {"io-flush", OP_FLUSH, 0, false},
    [SLUICE__REQUEST__BODY_IO_DISCARD] = {"io-discard", OP_DISCARD, PERM_WRITE, false},
    [SLUICE__REQUEST__BODY_IO_ZEROES] = {"io-zeroes", OP_ZEROES, PERM_WRITE, false},
    [SLUICE__REQUEST__BODY_IO_TRUNCATE] = {"io-truncate", OP_TRUNCATE, PERM_RESIZE, false},
    [SLUICE__REQUEST__BODY_IO_MAKE_ZERO] = {"io-make-zero", OP_ZEROES, PERM_WRITE, false},
    [SLUICE__REQUEST__BODY_IO_IOCTL] =
        {"io-ioctl", OP_IOCTL, PERM_WRITE, true,
         "the medium's driver takes no ioctls; choose one that can \"ioctl\" (see node-show)"},
    [SLUICE__REQUEST__BODY_IO_SAVE_VMSTATE] = {"io-save-vmstate", OP_SAVE_VMSTATE, PERM_WRITE, true,
                                               VMSTATE},
    [SLUICE__REQUEST__BODY_IO_LOAD_VMSTATE] = {"io-load-vmstate", OP_LOAD_VMSTATE,
                                               PERM_CONSISTENT_READ, true, VMSTATE},
};

static int check_range(struct io *io, const char *field, int64_t offset, uint64_t bytes,
                       uint64_t most)
{
    io->offset = (uint64_t)offset;
    io->bytes = bytes;
    if (bytes > most)
        return err_field(&io->err, field, -EINVAL,
                         "%s: %" PRIu64 " bytes are asked for; %" PRIu64
                         " are the most in one request",
                         io->kind->name, bytes, most);
    return 0;
}

static int check_write(struct io *io, const Sluice__IoWrite *write)
{
    if (write->has_data == write->has_pattern)
        return err_field(&io->err, "data", -EINVAL, "io-write: give either data or pattern");
    if (write->has_pattern && write->pattern > 255)
        return err_field(&io->err, "pattern", -EINVAL,
                         "io-write: pattern is %" PRIu32 ", but a byte is 0 to 255",
                         write->pattern);
    if (write->has_data && write->has_bytes && write->bytes != write->data.len)
        return err_field(&io->err, "bytes", -EINVAL,
                         "io-write: bytes is %" PRIu64 ", but data has %zu; leave bytes out",
                         write->bytes, write->data.len);
    if (write->has_pattern && !write->has_bytes)
        return err_field(&io->err, "bytes", -EINVAL,
                         "io-write: bytes tells how many to fill with the pattern; give it");
    io->flags = (write->fua ? OP_FUA : 0) | (write->compressed ? OP_COMPRESSED : 0);
    if (write->has_pattern)
        return check_range(io, "bytes", write->offset, write->bytes, IO_PATTERN);
    io->given = &write->data;
    return check_range(io, "data", write->offset, write->data.len, IO_BYTES);
}

static int check_truncate(struct io *io, const Sluice__IoTruncate *truncate)
{
    static const struct {
        const char *name;
        uint16_t flag;
    } modes[] = {
        {"off", 0},
        {"metadata", OP_PREALLOC_METADATA},
        {"falloc", OP_PREALLOC_FALLOC},
        {"full", OP_PREALLOC_FULL},
    };
    io->offset = (uint64_t)truncate->size;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(truncate->preallocation, modes[i].name) == 0) {
            io->flags = modes[i].flag;
            return 0;
        }
    return err_field(
        &io->err, "preallocation", -EINVAL,
        "io-truncate: preallocation is \"%.40s\", but must be off, metadata, falloc or "
        "full",
        truncate->preallocation);
}

static int check_ioctl(struct io *io, const Sluice__IoIoctl *ioctl)
{
    if (ioctl->has_data)
        io->given = &ioctl->data;
    if (ioctl->has_data && ioctl->has_bytes && ioctl->bytes < ioctl->data.len)
        return err_field(&io->err, "bytes", -EINVAL,
                         "io-ioctl: the argument has %" PRIu64
                         " bytes, but data has %zu; leave bytes out, or make it more",
                         ioctl->bytes, ioctl->data.len);
    if (ioctl->has_bytes)
        return check_range(io, "bytes", ioctl->code, ioctl->bytes, IO_BYTES);
    return check_range(io, "data", ioctl->code, ioctl->data.len, IO_BYTES);
}

/* Where the state ends is the driver's business, but not that an offset can't tell it. */
static int check_vmstate(struct io *io, const char *field, int64_t offset, uint64_t bytes)
{
    if (check_range(io, field, offset, bytes, IO_BYTES) < 0)
        return io->err.code;
    if (offset > 0 && bytes > (uint64_t)(INT64_MAX - offset))
        return err_field(&io->err, "offset", -EINVAL,
                         "%s: %" PRIu64 " bytes at %" PRId64
                         " reach beyond the last byte that there can be; make offset less",
                         io->kind->name, bytes, offset);
    return 0;
}

static int check_save(struct io *io, const Sluice__IoSaveVmstate *save)
{
    if (!save->has_data)
        return err_field(&io->err, "data", -EINVAL,
                         "io-save-vmstate: data is what to save; give it");
    io->given = &save->data;
    return check_vmstate(io, "data", save->offset, save->data.len);
}

int io_request_check(struct io *io)
{
    const Sluice__Request *request = io->request;
    io->kind = &kinds[request->body_case];
    switch (request->body_case) {
    case SLUICE__REQUEST__BODY_IO_READ:
        io->backend = request->io_read->backend;
        io->flags = request->io_read->unthrottled ? OP_UNTHROTTLED : 0;
        return check_range(io, "bytes", request->io_read->offset, request->io_read->bytes,
                           IO_BYTES);
    case SLUICE__REQUEST__BODY_IO_WRITE:
        io->backend = request->io_write->backend;
        return check_write(io, request->io_write);
    case SLUICE__REQUEST__BODY_IO_FLUSH:
        io->backend = request->io_flush->backend;
        return 0;
    case SLUICE__REQUEST__BODY_IO_DISCARD:
        io->backend = request->io_discard->backend;
        return check_range(io, "bytes", request->io_discard->offset, request->io_discard->bytes,
                           INT64_MAX);
    case SLUICE__REQUEST__BODY_IO_ZEROES:
        io->backend = request->io_zeroes->backend;
        io->flags =
            (request->io_zeroes->fua ? OP_FUA : 0) | (request->io_zeroes->unmap ? OP_MAY_UNMAP : 0);
        return check_range(io, "bytes", request->io_zeroes->offset, request->io_zeroes->bytes,
                           INT64_MAX);
    case SLUICE__REQUEST__BODY_IO_MAKE_ZERO:
        io->backend = request->io_make_zero->backend;
        io->flags = (request->io_make_zero->fua ? OP_FUA : 0) |
                    (request->io_make_zero->unmap ? OP_MAY_UNMAP : 0);
        return 0;
    case SLUICE__REQUEST__BODY_IO_IOCTL:
        io->backend = request->io_ioctl->backend;
        return check_ioctl(io, request->io_ioctl);
    case SLUICE__REQUEST__BODY_IO_SAVE_VMSTATE:
        io->backend = request->io_save_vmstate->backend;
        return check_save(io, request->io_save_vmstate);
    case SLUICE__REQUEST__BODY_IO_LOAD_VMSTATE:
        io->backend = request->io_load_vmstate->backend;
        return check_vmstate(io, "bytes", request->io_load_vmstate->offset,
                             request->io_load_vmstate->bytes);
    default:
        io->backend = request->io_truncate->backend;
        return check_truncate(io, request->io_truncate);
    }
}
