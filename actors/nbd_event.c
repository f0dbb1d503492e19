#include "actors/nbd_event.h"

#include <stdio.h>

#include "actors/emit.h"

/* Epoch, sequence and time are filled in by the events actor. */
static void tell(struct actor *self, Sluice__Event__BodyCase what, const char *export,
                 uint64_t number, const char *peer, const char *reason,
                 Sluice__Event__Severity severity)
{
    Sluice__ConnectionEvent *body = MAIL_NEW(sluice__connection_event);
    mail_set(&body->export, export);
    body->connection = number;
    mail_set(&body->peer, peer);
    if (reason)
        mail_set(&body->reason, reason);

    char source[160];
    snprintf(source, sizeof(source), "%s/%llu", export, (unsigned long long)number);
    emit_event(self, "connection", source, severity, what, body);
}

void nbd_tell_connected(struct actor *self, const char *export, uint64_t number, const char *peer)
{
    tell(self, SLUICE__EVENT__BODY_CLIENT_CONNECTED, export, number, peer, NULL,
         SLUICE__EVENT__SEVERITY__INFO);
}

void nbd_tell_disconnected(struct actor *self, const char *export, uint64_t number,
                           const char *peer, const char *reason, bool expected)
{
    tell(self, SLUICE__EVENT__BODY_CLIENT_DISCONNECTED, export, number, peer, reason,
         expected ? SLUICE__EVENT__SEVERITY__INFO : SLUICE__EVENT__SEVERITY__WARNING);
}
