/* backend_root.c — a backend's root state, and those who are told when media come and go. */
#include "actors/backend_impl.h"

#include <stdlib.h>

/* --- Root state */

const char *const backend_flag_names[OPEN_FLAGS] = {"read-write", "direct", "unmap"};

unsigned backend_flags_of(const struct driver_facts *facts)
{
    return (facts->read_only ? 0 : OPEN_READ_WRITE) | (facts->direct ? OPEN_DIRECT : 0) |
           (facts->can & DRIVER_CAN_UNMAP ? OPEN_UNMAP : 0);
}

unsigned backend_reopen_flags(const struct backend *backend)
{
    unsigned others = backend->open_flags & ~(unsigned)OPEN_READ_WRITE;
    return backend->read_only ? others : others | OPEN_READ_WRITE;
}

/* --- Notifiers */

static struct session *find(const struct backend *backend, uint64_t id)
{
    struct session *session = backend->sessions;
    while (session && session->id != id)
        session = session->next;
    return session;
}

static void noted(struct backend *backend, struct session *session)
{
    if (!session->noting)
        return;
    session->noting = false;
    if (--backend->notified)
        return;
    void (*then)(struct backend * backend) = backend->then;
    backend->then = NULL;
    then(backend);
}

static bool is_due(const struct session *session, enum news news)
{
    if (!session->notify)
        return false;
    switch (news) {
    case NEWS_REMOVED:
        return !session->told_removal;
    case NEWS_KEPT:
        return session->told_removal;
    default:
        return true;
    }
}

void backend_notify(struct backend *backend, enum news what, void (*then)(struct backend *backend))
{
    for (struct session *session = backend->sessions; session; session = session->next) {
        bool due = is_due(session, what) && !backend->aborted;
        session->told_removal = what == NEWS_REMOVED && (due || session->told_removal);
        if (!due)
            continue;
        session->noting = true;
        backend->notified++;
        Sluice__MediumNews *news = MAIL_NEW(sluice__medium_news);
        news->session = session->id;
        news->inserted = what != NEWS_REMOVED;
        actor_tell(backend->self, session->watcher, MAIL_MEDIUM_NEWS, news);
    }
    backend->then = then;
    if (backend->notified)
        return;
    backend->then = NULL;
    then(backend);
}

void backend_on_session_notify(struct actor *self, struct mail *mail)
{
    const Sluice__SessionNotify *asked = (const Sluice__SessionNotify *)mail->body;
    struct session *session = find(actor_state(self), asked->session);
    if (session)
        session->notify = asked->notify;
    actor_reply(self, mail_ticket(mail), MAIL_NONE, NULL);
}

void backend_on_medium_noted(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    struct session *session = find(backend, ((const Sluice__SessionCalm *)mail->body)->session);
    if (session)
        noted(backend, session);
}

void backend_stop_notifying(struct backend *backend, struct session *only)
{
    if (only)
        noted(backend, only);
    for (struct session *session = backend->sessions; !only && session; session = session->next)
        noted(backend, session);
}
