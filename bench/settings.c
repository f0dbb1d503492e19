#include "bench/settings.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/units.h"

/* One option. `set` returns false for a value that it can't use; `form` then says what it could. */
struct flag {
    const char *name;
    const char *arg; /* null: takes none */
    const char *help;
    const char *form;
    bool (*set)(struct settings *settings, const char *value);
};

static bool number(const char *text, unsigned long long min, unsigned long long max,
                   unsigned long long *value)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || n < min || n > max)
        return false;
    *value = n;
    return true;
}

static bool set_node(struct settings *settings, const char *value)
{
    if (settings->n_nodes == MAX_NODES)
        return false;
    settings->nodes[settings->n_nodes++] = value;
    return true;
}

static bool set_config(struct settings *settings, const char *value)
{
    settings->config = value;
    return true;
}

static bool set_backend(struct settings *settings, const char *value)
{
    settings->backend = value;
    return true;
}

static bool set_rw(struct settings *settings, const char *value)
{
    static const struct {
        const char *name;
        bool random, reads, writes;
    } modes[] = {{"read", false, true, false},     {"write", false, false, true},
                 {"rw", false, true, true},        {"randread", true, true, false},
                 {"randwrite", true, false, true}, {"randrw", true, true, true}};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(value, modes[i].name) == 0) {
            settings->rw = modes[i].name;
            settings->load.random = modes[i].random;
            settings->reads = modes[i].reads;
            settings->writes = modes[i].writes;
            return true;
        }
    return false;
}

static bool set_mix(struct settings *settings, const char *value)
{
    unsigned long long percent;
    if (!number(value, 0, 100, &percent))
        return false;
    settings->load.read_percent = (unsigned)percent;
    return true;
}

static bool set_bs(struct settings *settings, const char *value)
{
    return units_parse_size(value, &settings->load.block) == 0 && settings->load.block > 0 &&
           settings->load.block <= 64 << 20;
}

static bool set_depth(struct settings *settings, const char *value)
{
    unsigned long long depth;
    if (!number(value, 1, 4096, &depth))
        return false;
    settings->load.depth = (unsigned)depth;
    return true;
}

static bool set_size(struct settings *settings, const char *value)
{
    return units_parse_size(value, &settings->size) == 0 && settings->size > 0 &&
           settings->size <= INT64_MAX;
}

static bool duration(const char *value, uint64_t *ns)
{
    return units_parse_duration(value, ns) == 0 && *ns <= UINT64_C(1000000000) * 3600 * 24;
}

static bool set_runtime(struct settings *settings, const char *value)
{
    return duration(value, &settings->load.runtime_ns) && settings->load.runtime_ns > 0;
}

static bool set_ramp(struct settings *settings, const char *value)
{
    return duration(value, &settings->load.ramp_ns);
}

static bool set_threads(struct settings *settings, const char *value)
{
    unsigned long long threads;
    if (!number(value, 1, MAX_REACTORS, &threads))
        return false;
    settings->threads = (unsigned)threads;
    return true;
}

static bool set_cpus(struct settings *settings, const char *value)
{
    unsigned n = 0;
    for (const char *at = value;; at++) {
        char *end;
        unsigned long cpu = strtoul(at, &end, 10);
        if (end == at || *at < '0' || *at > '9' || (*end && *end != ',') || cpu > 4095 ||
            n == MAX_REACTORS)
            return false;
        settings->reactor_cpus[n++] = (int)cpu;
        if (!*end)
            break;
        at = end;
    }
    settings->threads = n;
    settings->cpus_given = true;
    return true;
}

static bool set_cpu(struct settings *settings, const char *value)
{
    unsigned long long cpu;
    if (!number(value, 0, 4095, &cpu))
        return false;
    settings->cpu = (int)cpu;
    return true;
}

static bool set_seed(struct settings *settings, const char *value)
{
    unsigned long long seed;
    if (!number(value, 0, ULLONG_MAX, &seed))
        return false;
    settings->load.seed = seed;
    return true;
}

static bool set_latency(struct settings *settings, const char *value)
{
    return units_parse_switch(value, &settings->load.latency) == 0;
}

static bool set_progress(struct settings *settings, const char *value)
{
    bool on;
    if (strcmp(value, "auto") == 0) {
        settings->progress = PROGRESS_AUTO;
        return true;
    }
    if (units_parse_switch(value, &on))
        return false;
    settings->progress = on ? PROGRESS_ON : PROGRESS_OFF;
    return true;
}

static bool set_json(struct settings *settings, const char *value)
{
    (void)value;
    settings->json = true;
    return true;
}

static bool set_drivers(struct settings *settings, const char *value)
{
    (void)settings;
    (void)value;
    sluice_print_drivers(stdout);
    exit(0);
}

static bool set_version(struct settings *settings, const char *value)
{
    (void)settings;
    (void)value;
    printf("sluice-bench %s\n", sluice_version());
    exit(0);
}

static bool set_help(struct settings *settings, const char *value);

static const struct flag flags[] = {
    {"node", "K=V,...",
     "add a node: driver=NAME and its options (see --drivers); repeatable, a child before what "
     "stands on it; without name= it is called node0, node1, ...",
     "64 nodes at most can be given", set_node},
    {"config", "FILE", "send the requests of a YAML or JSON file first, as sluiced does", "",
     set_config},
    {"backend", "NAME", "the backend to drive (one that is made on the last --node)", "",
     set_backend},
    {"rw", "MODE", "read, write, rw, randread, randwrite or randrw (randread)",
     "it is read, write, rw, randread, randwrite or randrw", set_rw},
    {"rwmixread", "PERCENT", "how many of a mixed load's requests read (50)", "it is 0 to 100",
     set_mix},
    {"bs", "SIZE", "bytes of a request (4K)", "it is a size of 64M at most, like 4K", set_bs},
    {"iodepth", "N", "requests outstanding (64)", "it is 1 to 4096", set_depth},
    {"size", "SIZE", "bytes to use, from the start (all)", "it is a size, like 1G", set_size},
    {"runtime", "TIME", "how long to measure (5s)", "it is a time of at most a day, like 5s",
     set_runtime},
    {"ramp", "TIME", "how long to run before measuring (0)",
     "it is a time of at most a day, like 1s", set_ramp},
    {"seed", "N", "the same seed asks for the same offsets (1)", "it is a number", set_seed},
    {"threads", "N", "reactors of the engine (1)", "it is 1 to 64", set_threads},
    {"cpus", "LIST", "a CPU for each reactor, and so how many there are (the first ones allowed)",
     "it is CPU numbers with commas, like 0,2", set_cpus},
    {"cpu", "N", "the submitter's CPU (the first one allowed that no reactor is on)",
     "it is a CPU's number", set_cpu},
    {"latency", "on|off", "keep latencies; off reads the clock less (on)", "it is on or off",
     set_latency},
    {"progress", "WHEN", "a live line: on, off, or auto, when stderr is a terminal (auto)",
     "it is on, off or auto", set_progress},
    {"json", NULL, "print one JSON object", "", set_json},
    {"drivers", NULL, "print the drivers with their options", "", set_drivers},
    {"version", NULL, "print the version", "", set_version},
    {"help", NULL, "print this", "", set_help},
};

enum { FLAGS = sizeof flags / sizeof *flags, HELP_COLUMN = 20, HELP_WIDTH = 78 };

/* Prints a text in the right-hand column, wrapped. */
static void print_wrapped(const char *text)
{
    int column = HELP_COLUMN;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column + 1 + word > HELP_WIDTH) {
            printf("\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        column += printf("%s%.*s", column == HELP_COLUMN ? "" : " ", word, text);
        text += word;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static bool set_help(struct settings *settings, const char *value)
{
    (void)settings;
    (void)value;
    printf("usage: sluice-bench --node driver=NAME,... [options]\n"
           "Runs the engine in this process, and measures a backend from a thread of its own.\n\n");
    for (const struct flag *flag = flags; flag < flags + FLAGS; flag++) {
        char left[40];
        snprintf(left, sizeof left, "  --%s%s%s", flag->name, flag->arg ? " " : "",
                 flag->arg ? flag->arg : "");
        if (strlen(left) + 2 > HELP_COLUMN)
            printf("%s\n%*s", left, HELP_COLUMN, "");
        else
            printf("%-*s", HELP_COLUMN, left);
        print_wrapped(flag->help);
    }
    printf("\nExample: 4 KiB random reads of memory, 64 at a time:\n"
           "  sluice-bench --node driver=memory,size=1G --rw randread --bs 4K --iodepth 64\n");
    exit(0);
}

static _Noreturn void complain(const char *name, const char *value, const char *why)
{
    fprintf(stderr, "sluice-bench: --%s%s%s: %s. See --help.\n", name, value ? " " : "",
            value ? value : "", why);
    exit(2);
}

static const struct flag *find(const char *name, size_t length)
{
    for (const struct flag *flag = flags; flag < flags + FLAGS; flag++)
        if (strlen(flag->name) == length && memcmp(flag->name, name, length) == 0)
            return flag;
    return NULL;
}

void settings_read(struct settings *settings, int argc, char **argv)
{
    *settings = (struct settings){
        .threads = 1,
        .cpu = CPU_CHOOSE,
        .load = {.read_percent = 50,
                 .block = 4096,
                 .depth = 64,
                 .runtime_ns = UINT64_C(5000000000),
                 .seed = 1,
                 .latency = true},
    };
    set_rw(settings, "randread");
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) != 0) {
            fprintf(stderr, "sluice-bench: \"%s\" is not an option. See --help.\n", argv[i]);
            exit(2);
        }
        const char *name = argv[i] + 2, *equals = strchr(name, '='), *value = NULL;
        const struct flag *flag = find(name, equals ? (size_t)(equals - name) : strlen(name));
        if (!flag)
            complain(name, NULL, "there is no such option");
        if (!flag->arg && equals)
            complain(flag->name, NULL, "it takes no value");
        if (flag->arg) {
            value = equals ? equals + 1 : ++i < argc ? argv[i] : NULL;
            if (!value)
                complain(flag->name, NULL, "a value is missing");
        }
        if (!flag->set(settings, value))
            complain(flag->name, value, flag->form);
    }
    if (!settings->reads)
        settings->load.read_percent = 0;
    else if (!settings->writes)
        settings->load.read_percent = 100;
    if (!settings->n_nodes && !settings->config) {
        fprintf(stderr, "sluice-bench: there is nothing to measure: give --node driver=..., or "
                        "--config. See --help.\n");
        exit(2);
    }
    if (!settings->n_nodes && !settings->backend) {
        fprintf(stderr, "sluice-bench: --config alone doesn't say which backend to measure: give "
                        "--backend. See --help.\n");
        exit(2);
    }
}
