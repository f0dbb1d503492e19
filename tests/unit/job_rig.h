/* job_rig.h — jobs in a whole stepped engine: the one of backend `b`, and what it tells. */
#ifndef JOB_RIG_H
#define JOB_RIG_H

#include "shown_rig.h"

/* Backend `b` on `top`, an overlay over `lower` that has what is from `first` MiB on, 16 MiB in
 * all. Its layers are the mocks `upper` and `lower`. */
void job_add_stack(unsigned first);
/* Whether that mock keeps its requests; settles. */
void job_hold(const char *node, bool on);
const Sluice__JobInfo *job_shown(void);
/* Whether there is any. */
bool job_is_there(void);
/* Lets time pass until there is none; returns how much, ns. */
uint64_t job_run_out(void);
/* How the newest one has ended. */
const Sluice__JobEvent *job_completed(void);

#endif
