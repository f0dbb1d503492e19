/* nbd_proto.h — numbers and layouts of the NBD protocol, as its public document defines them.
 *
 * Everything on the wire is big-endian; the structures mirror it byte for byte and may lie at any
 * address. */
#ifndef SLUICE_NBD_PROTO_H
#define SLUICE_NBD_PROTO_H

#include <stdint.h>

#define NBD_MAGIC         UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC  UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_REP_MAGIC     UINT64_C(0x0003e889045565a9)
#define NBD_REQUEST_MAGIC UINT32_C(0x25609513)
#define NBD_REPLY_MAGIC   UINT32_C(0x67446698)

#define NBD_STRING_MAX  4096                 /* bytes of a name or description */
#define NBD_PAYLOAD_MAX (UINT32_C(32) << 20) /* what clients may assume a request can carry */

/* Flags of the server's greeting and of the client's answer. */
enum {
    NBD_FIXED_NEWSTYLE = 1 << 0,
    NBD_NO_ZEROES = 1 << 1,
};

enum nbd_option {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
};

#define NBD_REP_ERR(n) (UINT32_C(1) << 31 | (n))
enum nbd_rep {
    NBD_REP_ACK = 1,
    NBD_REP_SERVER = 2,
    NBD_REP_INFO = 3,
};
#define NBD_REP_ERR_UNSUP    NBD_REP_ERR(1)
#define NBD_REP_ERR_POLICY   NBD_REP_ERR(2)
#define NBD_REP_ERR_INVALID  NBD_REP_ERR(3)
#define NBD_REP_ERR_UNKNOWN  NBD_REP_ERR(6)
#define NBD_REP_ERR_SHUTDOWN NBD_REP_ERR(7)
#define NBD_REP_ERR_TOO_BIG  NBD_REP_ERR(9)

enum nbd_info {
    NBD_INFO_EXPORT = 0,
    NBD_INFO_NAME = 1,
    NBD_INFO_DESCRIPTION = 2,
    NBD_INFO_BLOCK_SIZE = 3,
};

/* Transmission flags. */
enum {
    NBD_HAS_FLAGS = 1 << 0,
    NBD_READ_ONLY = 1 << 1,
    NBD_SEND_FLUSH = 1 << 2,
    NBD_SEND_FUA = 1 << 3,
    NBD_SEND_TRIM = 1 << 5,
    NBD_SEND_WRITE_ZEROES = 1 << 6,
    NBD_CAN_MULTI_CONN = 1 << 8,
    NBD_SEND_FAST_ZERO = 1 << 11,
};

enum nbd_cmd {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMDS,
};

/* Flags of a command. */
enum {
    NBD_CMD_FUA = 1 << 0,
    NBD_CMD_NO_HOLE = 1 << 1,
    NBD_CMD_FAST_ZERO = 1 << 4,
};

enum nbd_error {
    NBD_EPERM = 1,
    NBD_EIO = 5,
    NBD_ENOMEM = 12,
    NBD_EINVAL = 22,
    NBD_ENOSPC = 28,
    NBD_ENOTSUP = 95,
    NBD_ESHUTDOWN = 108,
};

struct nbd_wire_greeting {
    uint64_t magic, option_magic;
    uint16_t flags;
} __attribute__((packed));

struct nbd_wire_option {
    uint64_t magic;
    uint32_t option, length;
} __attribute__((packed));

struct nbd_wire_rep {
    uint64_t magic;
    uint32_t option, type, length;
} __attribute__((packed));

struct nbd_wire_info_export {
    uint16_t type;
    uint64_t size;
    uint16_t flags;
} __attribute__((packed));

struct nbd_wire_info_block_size {
    uint16_t type;
    uint32_t minimum, preferred, maximum;
} __attribute__((packed));

struct nbd_wire_request {
    uint32_t magic;
    uint16_t flags, type;
    uint64_t cookie; /* the client's; returned as it is */
    uint64_t offset;
    uint32_t length;
} __attribute__((packed));

struct nbd_wire_reply {
    uint32_t magic, error;
    uint64_t cookie;
} __attribute__((packed));

#endif
