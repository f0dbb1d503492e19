/* block_rig.h — a node on a driver that keeps its data in an array, notes every operation that
 * reaches it, checks that each is one that it declared to take, and can hold completions back. */
#ifndef BLOCK_RIG_H
#define BLOCK_RIG_H

#include "drivers_rig.h"
#include "node_rig.h"

#define LENGTH 65536

#define CAN_ALL                                                                                    \
    (DRIVER_CAN_DISCARD | DRIVER_CAN_ZEROES | DRIVER_CAN_FUA | DRIVER_CAN_RESIZE |                 \
     DRIVER_CAN_FLUSH | DRIVER_CAN_GROW | DRIVER_CAN_UNMAP)

extern const struct driver driver_block, driver_null;

extern struct block_rig {
    struct driver_facts facts; /* that it opens with: LENGTH, CAN_ALL */
    int open_ret;              /* fails the open */
    bool open_later;           /* completes it with block_end_open() only */
    bool hold;                 /* completions, until block_release() */
    int fail_at, fail_with;    /* the n-th operation from 1 on ends so; 0: none does */
    bool no_zeroes;            /* answers zeroes with -ENOTSUP */
    unsigned closed;
    char log[4000]; /* what came */
    int count;
    struct op_queue held;
    unsigned char data[2 * LENGTH]; /* see block_original() */
    struct driver_node *driver;
    driver_opened_fn *opened;

    actor_addr node;
    _Alignas(4096) unsigned char buffer[LENGTH]; /* of block_io(): all 'B' */
} block;

/* For each test. */
int block_setup(void **state);
#define BLOCK_TEST(test) cmocka_unit_test_setup_teardown(test, block_setup, rig_teardown)

/* Opens block.node, "b". */
void block_open(void);
/* Ends an open that was to end later. */
void block_end_open(actor_addr node);
/* Runs, ends so many operations that are held, runs. */
void block_release(unsigned n);
/* What reached the driver since the last time: "W0+512! R0+512", with `!` for FUA, `u` for
 * MAY_UNMAP. */
void block_assert_came(const char *expected);
/* Whether its data is what it was at first. */
bool block_original(int64_t offset, uint64_t bytes);
/* rig_io() of block.buffer. */
int64_t block_io(enum op_kind kind, int64_t offset, uint64_t bytes, unsigned flags);

#endif
