/* nbd_conn.h — one client of an NBD export: an actor, in five files by subject.
 *
 *     nbd_conn.c       life: opening, the session with the backend, ending
 *     nbd_receive.c    bytes from the socket, in chunks, to whoever understands them now
 *     nbd_handshake.c  from the greeting to the chosen export
 *     nbd_request.c    requests into operations, and back
 *     nbd_reply.c      replies gathered into sends
 *
 * What is received lies in reference-counted chunks. One receive brings many requests; a write's
 * payload that is whole in its chunk goes to the backend from there. At most one receive and one
 * send are with the ring. Whatever happened in a turn, nbd_schedule() makes the turn's end send the
 * replies that are ready, then receive again (when, nbd_pace.h tells).
 *
 * Bounds: a request holds one of the session's credits, and its bytes, from parsing until its reply
 * has left. Without credits the connection does not read (`hold`), so what it keeps is bounded by
 * what the backend granted, whatever the client does. Then it watches whether the client is there.
 *
 * Ending: nbd_end() stops the reading; operations in flight end, their replies are sent as long as
 * the client takes them, then session and socket are closed and the export is told. */
#ifndef SLUICE_NBD_CONN_H
#define SLUICE_NBD_CONN_H

#include "actors/account.h"
#include "actors/kinds.h"
#include "actors/nbd_pace.h"
#include "actors/nbd_proto.h"
#include "engine/clock.h"
#include "engine/reactor.h"

#define NBD_REQUESTS       128             /* outstanding requests asked for, a connection */
#define NBD_BYTES          NBD_PAYLOAD_MAX /* and their bytes: one of the largest */
#define NBD_CHUNK          (256u << 10)    /* bytes received at once, at most */
#define NBD_BIG            (128u << 10) /* an incomplete payload from here on gets its own buffer */
#define NBD_OPTION_MAX     (64u << 10)  /* an option with more data than this is refused */
#define NBD_SPARE_CHUNKS   2            /* unused chunks kept for the next burst */
#define NBD_KEEP           (16u << 10)  /* a larger buffer is not kept with its unused request */
#define NBD_REPLIES        512          /* in one send */
#define NBD_HANDSHAKE_TIME (10 * NS_PER_S) /* for the whole handshake */
#define NBD_LINGER_TIME    (10 * NS_PER_S) /* for the last replies to leave */
#define NBD_CANCEL_TIME    (NS_PER_S / 4) /* until an ended client's requests are cancelled again */
#define NBD_ABORT_TIME     (NS_PER_S / 2) /* the same, when time is up */

enum nbd_state {
    NBD_AWAITS_FLAGS,   /* greeted; the client's flags come next */
    NBD_AWAITS_OPTIONS, /* one option after the other */
    NBD_TRANSMISSION,   /* requests and replies */
    NBD_ENDING,         /* nothing is read any more */
    NBD_CLOSING,        /* the session is being closed */
};

/* What was received. The connection that fills it holds a reference, and each request whose payload
 * lies in it. */
struct nbd_chunk {
    struct nbd_chunk *next; /* among spares */
    unsigned refs;
    unsigned char *data; /* NBD_CHUNK bytes */
};

/* From its header until its reply has left. */
struct nbd_request {
    struct nbd_request *next;
    struct nbd_conn *conn;
    struct op *op;    /* while the backend has it; else null, */
    bool cancelled;   /* and whether its end has been asked for */
    uint64_t cookie;  /* the client's, in wire order */
    uint8_t kind;     /* enum op_kind */
    uint16_t flags;   /* enum op_flag */
    uint32_t length;  /* bytes asked for */
    uint32_t left;    /* bytes not yet handed to the backend */
    uint64_t offset;  /* of those */
    uint32_t error;   /* enum nbd_error, or 0 */
    uint32_t charged; /* bytes of credit that it holds */
    void *payload;    /* of a write: in `chunk`, or `buffer` */
    struct nbd_chunk *chunk;
    void *buffer;  /* its own; kept for the next request */
    uint32_t room; /* bytes of the buffer */
};

struct nbd_requests {
    struct nbd_request *head, **tail;
};

struct nbd_conn {
    struct actor *self;
    enum nbd_state state;
    char reason[192]; /* why it ends */
    bool orderly;     /* the client or the operator wants the end */

    /* From the export. */
    actor_addr export, backend;
    uint64_t number;
    const char *peer;        /* in `open` */
    Sluice__ExportAdd *spec; /* in `open`; name and id are set */
    Sluice__ConnectionOpen *open;

    /* The session with the backend. */
    bool granted;
    uint64_t session;
    Sluice__NodeFacts facts;
    bool inserted;
    uint32_t payload_max; /* bytes that one request may carry */

    /* The socket. */
    struct ring_file file;
    struct ring_req recv, send;
    bool receiving, sending;
    struct ring_req watch; /* while nothing is received, so that its death is noticed */
    bool watching;
    struct nbd_pace pace;
    struct timer gather; /* until the next receive */
    unsigned parsed_now; /* requests that the last receive brought */
    bool broken;         /* the client takes no replies any more */
    struct turn_hook hook;
    struct timer timer;    /* end of the handshake's time, then of lingering */
    uint64_t linger_until; /* while ending: when the client must have taken its replies */

    /* Received: bytes from `parsed` to `filled` of the chunk are not understood yet. */
    struct nbd_chunk *chunk;
    uint32_t parsed, filled;
    uint64_t skip;  /* bytes that come next and mean nothing */
    bool hold;      /* nothing is understood, nor received, until something else has happened */
    bool streaming; /* the last request was a big write */
    struct nbd_chunk *spares;
    unsigned spare_count;

    /* Requests. */
    struct nbd_request *pool;
    uint32_t pool_size;
    struct nbd_request *unused;
    uint64_t bytes, bytes_max;   /* credit in use, and granted */
    unsigned in_flight;          /* requests that are with the backend */
    struct account_told told;    /* of those that it does not see; it looks at this */
    struct nbd_request *filling; /* a big write whose payload is still coming */
    uint32_t got;                /* bytes of it that are here */

    /* Replies. */
    struct nbd_requests ready, leaving; /* to be sent; being sent */
    struct msghdr msg;                  /* what is left of the send */
    void (*sent)(struct nbd_conn *conn);
    struct iovec iov[2 * NBD_REPLIES];
    struct nbd_wire_reply headers[NBD_REPLIES];

    /* Handshake. */
    bool no_zeroes; /* the client wants none after EXPORT_NAME's answer */
    bool session_asked;
    unsigned char *out; /* a reply being built and sent; null outside the handshake */
    size_t out_bytes, out_room;
    enum nbd_state after_out; /* state when it has left */
};

extern const struct actor_type nbd_conn_type;

/* nbd_conn.c */

/* Stops reading, once: the first reason counts. */
void nbd_end(struct nbd_conn *conn, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same at the wish of the client or the operator: nothing is wrong. */
void nbd_end_orderly(struct nbd_conn *conn, const char *reason);
/* Stops sending, too: the client is gone. */
void nbd_break(struct nbd_conn *conn);
/* Makes the end of this turn send and receive. */
void nbd_schedule(struct nbd_conn *conn);
/* Goes on when nothing is outstanding any more in an ending connection. */
void nbd_settle(struct nbd_conn *conn);
static inline bool nbd_is_ending(const struct nbd_conn *conn)
{
    return conn->state >= NBD_ENDING;
}
static inline struct buffers *nbd_buffers(const struct nbd_conn *conn)
{
    return reactor_buffers(actor_reactor(conn->self));
}
/* Asks the backend for a session; nbd_handshake_session() follows, with null for success. */
void nbd_session_open(struct nbd_conn *conn);

/* nbd_receive.c */

/* Receives when there is a reason to. */
void nbd_receive(struct nbd_conn *conn);
/* Understands what is there, until more is needed. */
void nbd_feed(struct nbd_conn *conn);
/* What held the reading has happened. */
void nbd_resume(struct nbd_conn *conn);
void nbd_chunk_put(struct nbd_conn *conn, struct nbd_chunk *chunk);
void nbd_receive_fini(struct nbd_conn *conn);
static inline unsigned char *nbd_next(const struct nbd_conn *conn)
{
    return conn->chunk->data + conn->parsed;
}
static inline size_t nbd_available(const struct nbd_conn *conn)
{
    return conn->filled - conn->parsed;
}

/* nbd_handshake.c */

void nbd_greet(struct nbd_conn *conn);
/* Each understands one thing, and returns whether to go on with the next. */
bool nbd_handshake_flags(struct nbd_conn *conn);
bool nbd_handshake_option(struct nbd_conn *conn);
void nbd_handshake_session(struct nbd_conn *conn, const char *refusal);
void nbd_handshake_fini(struct nbd_conn *conn);

/* nbd_request.c */

/* Makes room for `count` requests; false without memory. */
bool nbd_requests_init(struct nbd_conn *conn, uint32_t count);
void nbd_requests_fini(struct nbd_conn *conn);
/* Asks the backend to end those of the requests that merely wait there; when there is nobody any
 * more who would want them done, all that can be. */
void nbd_requests_cancel(struct nbd_conn *conn);
bool nbd_request_parse(struct nbd_conn *conn);
/* The payload of `filling` is whole. */
void nbd_request_filled(struct nbd_conn *conn);
/* Gives back what the request holds. */
void nbd_request_put(struct nbd_request *request);

/* nbd_reply.c */

void nbd_reply(struct nbd_request *request, uint32_t error);
/* Sends replies that are ready, unless a send is under way. */
void nbd_reply_send(struct nbd_conn *conn);
/* Sends `niov` entries of conn->iov, then calls `sent`, unless the client is gone by then. */
void nbd_send(struct nbd_conn *conn, size_t niov, void (*sent)(struct nbd_conn *conn));
/* The error that NBD has for a negative errno. */
uint32_t nbd_error(int64_t ret);
static inline void nbd_requests_queue(struct nbd_requests *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
}

#endif
