/* settings.h — what sluice-bench was told on its command line. */
#ifndef SLUICE_BENCH_SETTINGS_H
#define SLUICE_BENCH_SETTINGS_H

#include <stdbool.h>

#include "bench/load.h"

enum { MAX_NODES = 64, MAX_REACTORS = 64, CPU_CHOOSE = -1 };

enum progress { PROGRESS_AUTO, PROGRESS_ON, PROGRESS_OFF };

struct settings {
    const char *nodes[MAX_NODES]; /* as given, k=v,… */
    unsigned n_nodes;
    const char *config;  /* path of a configuration file; null: none */
    const char *backend; /* null: one is made on the last node */
    unsigned threads;
    int reactor_cpus[MAX_REACTORS]; /* `threads` of them, when they were given */
    bool cpus_given;
    int cpu; /* the submitter's; CPU_CHOOSE: not a reactor's, if there is another */
    const char *rw;
    bool reads, writes;
    uint64_t size; /* 0: the whole backend */
    bool json;
    enum progress progress;
    struct load_options load;
};

/* Reads the command line. Prints help, the version or a complaint and exits when it must. */
void settings_read(struct settings *settings, int argc, char **argv);

#endif
