/* socket_rig.h — clients of ZeroMQ for tests of control and events. They wait, in real time,
 * while the rig is stepped. */
#ifndef SOCKET_RIG_H
#define SOCKET_RIG_H

#include <zmq.h>

#include "rig.h"

/* A connected socket that forgets what it has not sent when it is closed; SUB takes everything. */
void *rig_connect(void *context, int type, const char *endpoint);
/* One frame, at most `size` bytes of it; its length, or -1 when none comes in time. */
int rig_receive(void *socket, void *data, size_t size, int64_t ms);

#endif
