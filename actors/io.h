/* io.h — io-* requests: control as a frontend of a backend.
 *
 * Finds the backend, opens a session, sends one operation after the other, each of a bounded size,
 * closes the session, replies. */
#ifndef SLUICE_IO_H
#define SLUICE_IO_H

#include "actors/dispatch.h"

#define IO_BYTES       (1 << 20) /* of data in one request, and of one operation with data */
#define IO_PATTERN     (1 << 30) /* bytes that one request may fill with a pattern */
#define IO_RANGE_BYTES (1 << 30) /* of one operation without data: longer ones are split */

/* Takes the request over, whose body is one of io_*. While it is under way it hangs in the list
 * that begins with `*first`. */
void io_run(struct actor *self, struct io **first, Sluice__Request *request, dispatch_done_fn *done,
            void *arg);
/* Answers those of a list which wait for an operation, with an error, without waiting any longer.
 * The actor may end then, whatever comes of the operation. */
void io_abandon(struct io *first);

#endif
