/* descriptors.h — the process's supply of file descriptors.
 *
 * libzmq (4.3.4) aborts the process when a client connects to an ipc:// endpoint and no descriptor
 * is left. So whoever opens as many as users like — connections, images — asks here first, and
 * leaves some over. */
#ifndef SLUICE_DESCRIPTORS_H
#define SLUICE_DESCRIPTORS_H

#include <stdbool.h>

/* Whether enough are left with `fd`, the one that was opened just now; otherwise it is to be closed
 * again, and whoever wanted it refused with -EMFILE. */
bool descriptors_suffice(int fd);

#endif
