/* file.h — an open file or block device, shared by file.c (opening, locking) and file_io.c
 * (requests). */
#ifndef SLUICE_FILE_H
#define SLUICE_FILE_H

#include "drivers/driver.h"

#include <sys/stat.h>

struct file {
    struct driver_node *node;
    struct ring_file at; /* fd -1 while not open */
    bool direct, is_device;
    bool active;      /* holds locks, or is to */
    bool taking_over; /* was inactive until now */
    uint64_t block;   /* bytes: what discards and zeroes are multiples of; 1 for a regular file */

    /* What the file system turned out not to do. */
    bool no_punch, no_zero_range;
    /* Of a flush that failed. The kernel may have dropped what it could not write, and would report
     * success the next time; so all later ones fail too. */
    int flush_error;

    uint64_t lengths; /* how often a request has changed the length */

    /* Opening, and rereading. */
    struct ring_req req;
    struct statx stat;
    struct timer lock_again; /* until the next try to lock it */
    uint64_t patience_until; /* when to stop trying, nanoseconds */
    driver_opened_fn *opened;
    uint64_t lengths_before; /* of a look at the length */
};

void file_submit(struct driver_node *node, struct op *op);
bool file_cancel(struct driver_node *node, struct op *op);

#endif
