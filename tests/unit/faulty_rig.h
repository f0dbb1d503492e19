/* faulty_rig.h — a backend whose medium fails as rules say. */
#ifndef FAULTY_RIG_H
#define FAULTY_RIG_H

#include "shown_rig.h"

/* Backend `b`, with these settings, on a fault filter `f` with these rules on a mock `m`. */
actor_addr faulty_backend(const char *rules, const char *settings);

#endif
