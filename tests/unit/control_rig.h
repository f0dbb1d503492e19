/* control_rig.h — the control actor, its clients, and a graph and a backend "vd0" that do as they
 * are told. On the reactors of rig.h; sockets take real time. */
#ifndef CONTROL_RIG_H
#define CONTROL_RIG_H

#include "actors/control.h"
#include "actors/endpoint.h"
#include "socket_rig.h"

#define MEDIUM (4 << 20)

extern struct control_rig {
    actor_addr address;
    void *context; /* of ZeroMQ */
    char endpoint[ENDPOINT_TEXT];
    int shutdown_fd;
    uint8_t buffer[4 << 20]; /* for what clients receive */

    struct {
        unsigned asked; /* requests in all */
        struct ticket held[2048];
        uint64_t ids[2048];
        unsigned nheld;
        bool hold;       /* keep them, until control_answer(); else they are answered at once */
        bool read_only;  /* the backend */
        unsigned claims; /* on it */
        int fault;       /* negative errno to refuse with */
        struct actor *self;
    } graph;

    struct {
        unsigned sessions, opened, ops, flushes;
        int fail;      /* negative errno for operations */
        uint64_t room; /* bytes that it grants; 0: what is asked for */
        uint64_t largest;
        uint16_t flags;
        int64_t length;  /* MEDIUM at first */
        uint8_t *memory; /* MEDIUM bytes */
        actor_addr address;
    } backend;
} control;

/* For each test: at an endpoint. */
int control_setup(void **state);
int control_teardown(void **state);
#define CONTROL_TEST(test) cmocka_unit_test_setup_teardown(test, control_setup, control_teardown)
/* For tests without that: everything is up, with control at this endpoint; what it answers. */
struct rig_answer control_open(const char *at);
/* The end, once control is closed. */
void control_down(void);

/* Answers a request that the graph holds: a node named after how many requests came, "answer3". */
void control_answer(unsigned i);

/* A client; zmq_close() ends it. */
void *control_client(void);
/* Sends a request as words. */
void control_send(void *socket, const char *line, uint64_t id);
/* The next reply, or null when none comes in time. */
Sluice__Reply *control_reply_within(void *socket, int64_t ms);
/* The next one, which must come and have this id. */
Sluice__Reply *control_reply_to(void *socket, uint64_t id);
/* The same, and it is an error that holds this text. */
void control_expect_error(void *socket, uint64_t id, Sluice__Error__Class kind, const char *field,
                          const char *text);
#define INVALID SLUICE__ERROR__CLASS__INVALID
/* The same, and it is a node; its name, valid until the next call. */
char *control_name_in_reply(void *socket, uint64_t id);

#endif
