#include "socket_rig.h"

void *rig_connect(void *context, int type, const char *endpoint)
{
    void *socket = zmq_socket(context, type);
    int none = 0;
    assert_non_null(socket);
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    if (type == ZMQ_SUB)
        zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0);
    assert_int_equal(zmq_connect(socket, endpoint), 0);
    return socket;
}

int rig_receive(void *socket, void *data, size_t size, int64_t ms)
{
    for (int64_t end = rig_ms() + ms;;) {
        int n = zmq_recv(socket, data, size, ZMQ_DONTWAIT);
        if (n >= 0)
            return n;
        if (rig_ms() > end)
            return -1;
        rig_run();
    }
}
