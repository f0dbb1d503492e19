#include "actors/nbd_conn.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

uint32_t nbd_error(int64_t ret)
{
    switch (ret < 0 ? -ret : 0) {
    case 0:
        return 0;
    case EPERM:
    case EACCES:
    case EROFS:
        return NBD_EPERM;
    case ENOMEM:
        return NBD_ENOMEM;
    case EINVAL:
        return NBD_EINVAL;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return NBD_ENOSPC;
    case ENOTSUP:
        return NBD_ENOTSUP;
    case ESHUTDOWN:
        return NBD_ESHUTDOWN;
    default:
        return NBD_EIO;
    }
}

/* --- Sending */

/* Takes `bytes` that have left off the front of what is being sent; false when nothing remains. */
static bool advance(struct msghdr *msg, size_t bytes)
{
    while (msg->msg_iovlen && bytes >= msg->msg_iov->iov_len) {
        bytes -= msg->msg_iov->iov_len;
        msg->msg_iov++;
        msg->msg_iovlen--;
    }
    if (msg->msg_iovlen == 0)
        return false;
    msg->msg_iov->iov_base = (unsigned char *)msg->msg_iov->iov_base + bytes;
    msg->msg_iov->iov_len -= bytes;
    return true;
}

static void send_more(struct nbd_conn *conn)
{
    conn->sending = true;
    ring_sendmsg(reactor_ring(actor_reactor(conn->self)), &conn->send, &conn->file, &conn->msg,
                 MSG_NOSIGNAL | MSG_WAITALL);
}

static void send_done(struct ring_req *req, int res)
{
    struct nbd_conn *conn = (struct nbd_conn *)((char *)req - offsetof(struct nbd_conn, send));
    conn->sending = false;
    if (res < 0 && res != -EINTR && res != -EAGAIN) {
        nbd_end(conn, "sending failed: %s", strerror(-res));
        nbd_break(conn);
    }
    if (conn->broken) {
        nbd_schedule(conn);
        return;
    }
    if (advance(&conn->msg, res > 0 ? res : 0))
        send_more(conn);
    else
        conn->sent(conn);
}

void nbd_send(struct nbd_conn *conn, size_t niov, void (*sent)(struct nbd_conn *conn))
{
    conn->msg = (struct msghdr){.msg_iov = conn->iov, .msg_iovlen = niov};
    conn->sent = sent;
    conn->send.done = send_done;
    send_more(conn);
}

/* --- Replies */

void nbd_reply(struct nbd_request *request, uint32_t error)
{
    struct nbd_conn *conn = request->conn;
    request->error = error;
    request->next = NULL;
    *conn->ready.tail = request;
    conn->ready.tail = &request->next;
    nbd_schedule(conn);
}

/* Gives requests back whose replies need nothing of them any more, and with them their credit. */
static void put_all(struct nbd_requests *queue)
{
    struct nbd_request *request = queue->head, *next;
    nbd_requests_queue(queue);
    for (; request; request = next) {
        next = request->next;
        nbd_request_put(request);
    }
}

static void replies_sent(struct nbd_conn *conn)
{
    put_all(&conn->leaving);
    nbd_resume(conn);
    nbd_schedule(conn);
}

void nbd_reply_send(struct nbd_conn *conn)
{
    if (conn->sending)
        return;
    if (conn->broken) {
        put_all(&conn->leaving);
        put_all(&conn->ready);
        return;
    }
    size_t count = 0, niov = 0;
    struct nbd_request *request;
    while ((request = conn->ready.head) && count < NBD_REPLIES) {
        struct nbd_wire_reply *header = &conn->headers[count++];
        *header = (struct nbd_wire_reply){htobe32(NBD_REPLY_MAGIC), htobe32(request->error),
                                          request->cookie};
        /* Headers without data between them go as one entry. */
        struct iovec *last = niov ? &conn->iov[niov - 1] : NULL;
        if (last && (unsigned char *)last->iov_base + last->iov_len == (unsigned char *)header)
            last->iov_len += sizeof(*header);
        else
            conn->iov[niov++] = (struct iovec){header, sizeof(*header)};
        if (request->kind == OP_READ && !request->error)
            conn->iov[niov++] = (struct iovec){request->buffer, request->length};

        conn->ready.head = request->next;
        request->next = NULL;
        *conn->leaving.tail = request;
        conn->leaving.tail = &request->next;
    }
    if (!conn->ready.head)
        conn->ready.tail = &conn->ready.head;
    if (niov)
        nbd_send(conn, niov, replies_sent);
}
