#include "actors/nbd_conn.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- Building and sending answers
 *
 * An answer has left before the next option is looked at, so a client that asks and does not listen
 * waits, and costs no more than one answer. */

static unsigned char *out_add(struct nbd_conn *conn, size_t bytes)
{
    if (conn->out_bytes + bytes > conn->out_room) {
        size_t room = conn->out_bytes + bytes + 512;
        unsigned char *out = realloc(conn->out, room);
        if (!out)
            abort(); /* some kilobytes at most: the engine's own pools abort, too */
        conn->out = out;
        conn->out_room = room;
    }
    unsigned char *at = conn->out + conn->out_bytes;
    conn->out_bytes += bytes;
    return at;
}

static void out_put(struct nbd_conn *conn, const void *data, size_t bytes)
{
    memcpy(out_add(conn, bytes), data, bytes);
}

static void out_rep(struct nbd_conn *conn, uint32_t option, uint32_t type, size_t bytes)
{
    const struct nbd_wire_rep rep = {htobe64(NBD_REP_MAGIC), htobe32(option), htobe32(type),
                                     htobe32(bytes)};
    out_put(conn, &rep, sizeof(rep));
}

static void out_sent(struct nbd_conn *conn)
{
    conn->out_bytes = 0;
    if (nbd_is_ending(conn)) {
        nbd_schedule(conn);
        return;
    }
    if (conn->after_out == NBD_ENDING) {
        nbd_end_orderly(conn, "the client ended the handshake");
        return;
    }
    conn->state = conn->after_out;
    if (conn->state == NBD_TRANSMISSION) {
        timer_cancel(reactor_timers(actor_reactor(conn->self)), &conn->timer);
        nbd_handshake_fini(conn);
    }
    nbd_resume(conn);
}

static void out_send(struct nbd_conn *conn, enum nbd_state after)
{
    conn->hold = true;
    conn->after_out = after;
    conn->iov[0] = (struct iovec){conn->out, conn->out_bytes};
    nbd_send(conn, 1, out_sent);
}

/* Refuses an option with a sentence, and goes on with the next. */
static void refuse(struct nbd_conn *conn, uint32_t option, uint32_t type, const char *text)
{
    out_rep(conn, option, type, strlen(text));
    out_put(conn, text, strlen(text));
    out_send(conn, NBD_AWAITS_OPTIONS);
}

void nbd_handshake_fini(struct nbd_conn *conn)
{
    free(conn->out);
    conn->out = NULL;
    conn->out_bytes = conn->out_room = 0;
}

/* --- Greeting */

void nbd_greet(struct nbd_conn *conn)
{
    const struct nbd_wire_greeting greeting = {htobe64(NBD_MAGIC), htobe64(NBD_OPTION_MAGIC),
                                               htobe16(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES)};
    out_put(conn, &greeting, sizeof(greeting));
    out_send(conn, NBD_AWAITS_FLAGS);
}

bool nbd_handshake_flags(struct nbd_conn *conn)
{
    uint32_t flags;
    if (nbd_available(conn) < sizeof(flags))
        return false;
    memcpy(&flags, nbd_next(conn), sizeof(flags));
    conn->parsed += sizeof(flags);
    flags = be32toh(flags);
    if (flags & ~(uint32_t)(NBD_FIXED_NEWSTYLE | NBD_NO_ZEROES)) {
        nbd_end(conn, "the client set unknown flags (0x%x) in the handshake", flags);
        return false;
    }
    conn->no_zeroes = flags & NBD_NO_ZEROES;
    conn->state = NBD_AWAITS_OPTIONS;
    return true;
}

/* --- Options */

static uint16_t transmission_flags(const struct nbd_conn *conn)
{
    uint16_t flags = NBD_HAS_FLAGS | NBD_SEND_FLUSH | NBD_SEND_FUA | NBD_CAN_MULTI_CONN;
    if (conn->spec->writable)
        flags |= NBD_SEND_TRIM | NBD_SEND_WRITE_ZEROES | NBD_SEND_FAST_ZERO;
    else
        flags |= NBD_READ_ONLY;
    return flags;
}

static bool is_served(const struct nbd_conn *conn)
{
    return conn->inserted && conn->facts.length >= 0;
}

/* The empty name asks for the default export: the only one. */
static bool is_my_name(const struct nbd_conn *conn, const unsigned char *name, size_t bytes)
{
    const char *mine = conn->spec->name;
    return bytes == 0 || (bytes == strlen(mine) && memcmp(name, mine, bytes) == 0);
}

static void out_info(struct nbd_conn *conn, uint32_t option, uint16_t type, const char *text)
{
    const uint16_t wire_type = htobe16(type);
    out_rep(conn, option, NBD_REP_INFO, sizeof(wire_type) + strlen(text));
    out_put(conn, &wire_type, sizeof(wire_type));
    out_put(conn, text, strlen(text));
}

/* What the client wanted to know, and what it must know: size, flags, and how large a request may
 * be. Any alignment is fine: the node sees to what the medium needs. */
static void out_infos(struct nbd_conn *conn, uint32_t option, const unsigned char *wanted,
                      unsigned count)
{
    const struct nbd_wire_info_export info = {htobe16(NBD_INFO_EXPORT), htobe64(conn->facts.length),
                                              htobe16(transmission_flags(conn))};
    out_rep(conn, option, NBD_REP_INFO, sizeof(info));
    out_put(conn, &info, sizeof(info));

    uint32_t preferred = conn->facts.alignment > 4096 ? conn->facts.alignment : 4096;
    if (preferred > conn->payload_max)
        preferred = conn->payload_max;
    const struct nbd_wire_info_block_size size = {htobe16(NBD_INFO_BLOCK_SIZE), htobe32(1),
                                                  htobe32(preferred), htobe32(conn->payload_max)};
    out_rep(conn, option, NBD_REP_INFO, sizeof(size));
    out_put(conn, &size, sizeof(size));

    bool name = false, description = false;
    for (unsigned i = 0; i < count; i++) {
        unsigned type = wanted[2 * i] << 8 | wanted[2 * i + 1];
        name |= type == NBD_INFO_NAME;
        description |= type == NBD_INFO_DESCRIPTION;
    }
    if (name)
        out_info(conn, option, NBD_INFO_NAME, conn->spec->name);
    if (description && conn->spec->description)
        out_info(conn, option, NBD_INFO_DESCRIPTION, conn->spec->description);
}

/* INFO and GO: length of the name, the name, number of infos wanted, their types. */
static void option_info(struct nbd_conn *conn, uint32_t option, const unsigned char *data,
                        uint32_t bytes)
{
    uint32_t name_bytes;
    uint16_t count;
    bool valid = bytes >= sizeof(name_bytes) + sizeof(count);
    if (valid) {
        memcpy(&name_bytes, data, sizeof(name_bytes));
        name_bytes = be32toh(name_bytes);
        valid = name_bytes <= bytes - sizeof(name_bytes) - sizeof(count);
    }
    if (valid) {
        memcpy(&count, data + sizeof(name_bytes) + name_bytes, sizeof(count));
        count = be16toh(count);
        valid = bytes == sizeof(name_bytes) + name_bytes + sizeof(count) + 2u * count;
    }
    if (!valid) {
        refuse(conn, option, NBD_REP_ERR_INVALID,
               "The lengths in this option contradict each other.");
    } else if (!is_my_name(conn, data + sizeof(name_bytes), name_bytes)) {
        refuse(conn, option, NBD_REP_ERR_UNKNOWN,
               "There is no export of that name here; ask for a list.");
    } else if (!is_served(conn)) {
        refuse(conn, option, NBD_REP_ERR_UNKNOWN,
               "This export has no medium now, or one of unknown length.");
    } else {
        out_infos(conn, option, data + sizeof(name_bytes) + name_bytes + sizeof(count), count);
        out_rep(conn, option, NBD_REP_ACK, 0);
        out_send(conn, option == NBD_OPT_GO ? NBD_TRANSMISSION : NBD_AWAITS_OPTIONS);
    }
}

/* The only option whose failure can't be told. */
static void option_export_name(struct nbd_conn *conn, uint32_t option, const unsigned char *data,
                               uint32_t bytes)
{
    (void)option;
    if (!is_my_name(conn, data, bytes)) {
        nbd_end(conn, "the client asked for an export that is not here");
        return;
    }
    if (!is_served(conn)) {
        nbd_end(conn, "the export has no medium, or one of unknown length");
        return;
    }
    const uint64_t size = htobe64(conn->facts.length);
    const uint16_t flags = htobe16(transmission_flags(conn));
    out_put(conn, &size, sizeof(size));
    out_put(conn, &flags, sizeof(flags));
    if (!conn->no_zeroes)
        memset(out_add(conn, 124), 0, 124);
    out_send(conn, NBD_TRANSMISSION);
}

static void option_list(struct nbd_conn *conn, uint32_t option, const unsigned char *data,
                        uint32_t bytes)
{
    (void)data;
    if (bytes != 0) {
        refuse(conn, option, NBD_REP_ERR_INVALID, "To list the exports takes no data.");
        return;
    }
    const char *name = conn->spec->name;
    const char *description = conn->spec->description ? conn->spec->description : "";
    const uint32_t name_bytes = htobe32(strlen(name));
    out_rep(conn, option, NBD_REP_SERVER, sizeof(name_bytes) + strlen(name) + strlen(description));
    out_put(conn, &name_bytes, sizeof(name_bytes));
    out_put(conn, name, strlen(name));
    out_put(conn, description, strlen(description));
    out_rep(conn, option, NBD_REP_ACK, 0);
    out_send(conn, NBD_AWAITS_OPTIONS);
}

static void option_abort(struct nbd_conn *conn, uint32_t option, const unsigned char *data,
                         uint32_t bytes)
{
    (void)data;
    (void)bytes;
    out_rep(conn, option, NBD_REP_ACK, 0);
    out_send(conn, NBD_ENDING);
}

/* What is known of an option. One that needs the session waits for it, and is then looked at
 * again. */
static const struct {
    void (*answer)(struct nbd_conn *conn, uint32_t option, const unsigned char *data,
                   uint32_t bytes);
    bool needs_session;
} options[] = {
    [NBD_OPT_EXPORT_NAME] = {option_export_name, true},
    [NBD_OPT_ABORT] = {option_abort, false},
    [NBD_OPT_LIST] = {option_list, false},
    [NBD_OPT_INFO] = {option_info, true},
    [NBD_OPT_GO] = {option_info, true},
};

bool nbd_handshake_option(struct nbd_conn *conn)
{
    struct nbd_wire_option wire;
    if (nbd_available(conn) < sizeof(wire))
        return false;
    memcpy(&wire, nbd_next(conn), sizeof(wire));
    uint32_t option = be32toh(wire.option), bytes = be32toh(wire.length);
    bool known = option < sizeof(options) / sizeof(options[0]) && options[option].answer;
    if (be64toh(wire.magic) != NBD_OPTION_MAGIC) {
        nbd_end(conn, "the client sent an option with a wrong magic number");
        return false;
    }
    if (bytes > NBD_OPTION_MAX) {
        conn->parsed += sizeof(wire);
        conn->skip = bytes;
        if (option == NBD_OPT_EXPORT_NAME)
            nbd_end(conn, "the client sent a name of %u bytes", bytes);
        else
            refuse(conn, option, NBD_REP_ERR_TOO_BIG, "This option has too much data.");
        return false;
    }
    if (nbd_available(conn) < sizeof(wire) + bytes)
        return false;
    if (known && options[option].needs_session && !conn->granted) {
        conn->hold = true;
        nbd_session_open(conn);
        return false;
    }
    const unsigned char *data = nbd_next(conn) + sizeof(wire);
    conn->parsed += sizeof(wire) + bytes;
    if (known)
        options[option].answer(conn, option, data, bytes);
    else
        refuse(conn, option, NBD_REP_ERR_UNSUP, "This server does not know that option.");
    return false; /* the answer has to leave first */
}

void nbd_handshake_session(struct nbd_conn *conn, const char *refusal)
{
    if (nbd_is_ending(conn)) {
        nbd_schedule(conn);
    } else if (!refusal) {
        nbd_resume(conn);
    } else {
        struct nbd_wire_option wire;
        memcpy(&wire, nbd_next(conn), sizeof(wire));
        conn->parsed += sizeof(wire) + be32toh(wire.length);
        if (be32toh(wire.option) == NBD_OPT_EXPORT_NAME)
            nbd_end(conn, "the backend refused: %.120s", refusal);
        else
            refuse(conn, be32toh(wire.option), NBD_REP_ERR_POLICY, refusal);
    }
}
