/* limits_message.h — limits in messages: as fields of requests and descriptions, which people write
 * and read, and as columns of the mail between actors. */
#ifndef SLUICE_LIMITS_MESSAGE_H
#define SLUICE_LIMITS_MESSAGE_H

#include "actors/limits.h"
#include "internal.pb-c.h"

/* Takes over the fields of a request that are given; returns how many. */
unsigned limits_take(struct limits *limits, const ProtobufCMessage *request);
/* Fills in all of a description's. */
void limits_tell(const struct limits *limits, ProtobufCMessage *description);
/* Fills in those that there are: no limits, no bursts, and bursts of a second are left out. */
void limits_tell_given(const struct limits *limits, ProtobufCMessage *event);

Sluice__ThrottleLimits *limits_to_mail(const struct limits *limits);
void limits_from_mail(const Sluice__ThrottleLimits *mail, struct limits *limits);

#endif
