/* nbd_rig.h — an NBD export of a backend that the test plays, and its clients, who write and read
 * the bytes of the protocol over a socket. On the reactors of rig.h, in virtual time. */
#ifndef NBD_RIG_H
#define NBD_RIG_H

#include "rig.h"

#include "actors/account.h"
#include "actors/nbd_proto.h"

#define MEDIUM       (64 << 20)
#define BACKEND_SEEN 4096 /* operations that the backend remembers */

/* For each test: a backend with a medium, and a writable export "disk" of it. */
int nbd_setup(void **state);
int nbd_teardown(void **state);
#define NBD_TEST(test) cmocka_unit_test_setup_teardown(test, nbd_setup, nbd_teardown)

/* Runs until nothing more happens, also what was put off for a moment of virtual time. */
void rig_settle(void);
/* Lets so much time pass, and settles. */
void rig_pass(uint64_t ns);

/* --- The backend */

extern struct nbd_backend {
    unsigned char *memory;                  /* MEDIUM bytes */
    int64_t length;                         /* what it says to have */
    bool inserted, refuses_sessions, holds; /* holds: operations wait for rig_release() */
    uint32_t requests;                      /* granted at most */
    uint64_t bytes;
    int error;    /* what all operations end with, or 0 */
    int error_at; /* the operation, counted from 1, that ends with `error`; 0: all */

    unsigned sessions; /* open now */
    actor_addr watcher;
    const struct account_told *told; /* by the newest session */
    struct op_queue held;
    struct {
        uint8_t kind;
        uint16_t flags;
        int64_t offset;
        uint64_t bytes;
    } seen[BACKEND_SEEN];
    unsigned count;
    actor_addr address;
    struct actor *self;
} backend;

/* Performs so many operations that are held, and settles. */
void rig_release(unsigned count);
/* How many operations of this kind the newest session has refused by itself. */
uint64_t backend_invalid(enum op_kind kind);
/* Has this length from now on, and says so. */
void backend_grow(int64_t length);

/* --- The export */

extern struct nbd_export {
    actor_addr address;
    struct rig_answer answer; /* to what it was asked last */
    char path[80];            /* of its socket */
    /* Clients, as its events tell. */
    unsigned connected, disconnected;
    char last_reason[256]; /* of the one that left last */
    Sluice__Event__Severity last_severity;
} export;

Sluice__ExportAdd *export_spec(bool writable);
/* Another one, when the last is closed. */
void export_open(Sluice__ExportAdd *spec);
void export_close(void);

/* --- Clients */

int client_dial(void);
/* Connected and greeted. */
int client_greeted(void);
/* Ready for requests. */
int client_ready(void);
bool client_is_closed(int fd);
/* Sends all, as far as the server takes it; returns how much it took. */
size_t client_give(int fd, const void *data, size_t bytes);
/* Takes what is there, at most `bytes`. */
size_t client_take(int fd, void *data, size_t bytes);

#define CLIENT_GO "\0\0\0\4disk\0" /* data of NBD_OPT_GO: 10 bytes, with its end */
void client_give_option(int fd, uint32_t option, const void *data, uint32_t bytes);
/* Type of the next answer; its data is skipped, but for what `data` takes (null: nothing). */
uint32_t client_take_rep(int fd, uint32_t option, char *data, size_t room);
/* Type of the last of the answers to it. */
uint32_t client_last_rep(int fd, uint32_t option);

struct nbd_wire_request client_request(uint16_t type, uint16_t flags, uint64_t offset,
                                       uint32_t length, uint64_t cookie);
void client_give_request(int fd, uint16_t type, uint16_t flags, uint64_t offset, uint32_t length);
/* The error of the next reply, or -1 when there is none. */
int client_take_reply(int fd);
int client_ask(int fd, uint16_t type, uint16_t flags, uint64_t offset, uint32_t length);
/* A read succeeds. */
void client_goes_on(int fd);

#endif
