/* sluice_bench.c — measures a backend: the engine in this process, a load from a pinned thread. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/settings.h"
#include "proto/config.h"
#include "proto/words.h"

static _Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("sluice-bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* --- Requests: nodes, the configuration, the backend. */

/* Sends the request and takes it over; a refusal ends the program. `what` names it for people. */
static void request(blk_context *context, Sluice__Request *request, const char *what)
{
    size_t size = sluice__request__get_packed_size(request), reply_size = 0;
    void *packed = malloc(size ? size : 1), *answer = NULL;
    if (!packed)
        die("out of memory");
    sluice__request__pack(request, packed);
    sluice__request__free_unpacked(request, NULL);
    int ret = sluice_request_packed(context, packed, size, &answer, &reply_size);
    if (ret < 0)
        die("%s: the engine did not answer: %s", what, strerror(-ret));
    Sluice__Reply *reply = sluice__reply__unpack(NULL, reply_size, answer);
    if (!reply)
        die("%s: the engine's answer can't be read", what);
    if (reply->body_case == SLUICE__REPLY__BODY_ERROR)
        die("%s: %s", what, reply->error->message);
    sluice__reply__free_unpacked(reply, NULL);
    free(answer);
    free(packed);
}

static void add_config(blk_context *context, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        die("--config %s: %s", path, strerror(errno));
    char *text = malloc(CONFIG_SIZE + 1);
    if (!text)
        die("out of memory");
    size_t size = fread(text, 1, CONFIG_SIZE + 1, file);
    if (ferror(file))
        die("--config %s: it can't be read: %s", path, strerror(errno));
    fclose(file);
    struct config config;
    struct refusal refusal;
    if (config_parse(text, size, &config, &refusal))
        die("--config %s: %s", path, refusal.text);
    for (size_t i = 0; i < config.n; i++) {
        char what[300];
        snprintf(what, sizeof what, "--config %.200s: line %u", path, config.items[i].line);
        request(context, config.items[i].request, what);
        config.items[i].request = NULL;
    }
    config_free(&config);
    free(text);
}

/* The request that a body's name and `words` make. */
static Sluice__Request *make(const char *name, char *const *words, size_t n, const char *what)
{
    size_t used;
    struct refusal refusal;
    const ProtobufCFieldDescriptor *body =
        words_request_name((char *const[]){(char *)name}, 1, &used, &refusal);
    Sluice__Request *request = body ? words_request(body, words, n, &refusal) : NULL;
    if (!request)
        die("%s: %s", what, refusal.text);
    return request;
}

enum { NAME_ROOM = 64 };

/* Adds --node number `i`; `name` gets its name. */
static void add_node(blk_context *context, const char *text, unsigned i, char name[NAME_ROOM])
{
    char what[300];
    snprintf(what, sizeof what, "--node %.250s", text);
    struct words words;
    words_split_commas(text, &words);
    char **given = calloc(words.n + 1, sizeof *given), preset[NAME_ROOM];
    if (!given)
        die("out of memory");
    bool named = false;
    for (size_t w = 0; w < words.n; w++) {
        given[w] = words.word[w];
        named |= strncmp(given[w], "name=", 5) == 0;
    }
    snprintf(preset, sizeof preset, "name=node%u", i);
    size_t n = words.n;
    if (!named)
        given[n++] = preset;
    Sluice__Request *node = make("node-add", given, n, what);
    snprintf(name, NAME_ROOM, "%s", node->node_add->name);
    request(context, node, what);
    free(given);
    words_free(&words);
}

/* Adds what the command line tells; returns the name of the backend to drive. */
static const char *set_up(blk_context *context, const struct settings *settings)
{
    if (settings->config)
        add_config(context, settings->config);
    char name[NAME_ROOM] = "";
    for (unsigned i = 0; i < settings->n_nodes; i++)
        add_node(context, settings->nodes[i], i, name);
    if (settings->backend && !settings->n_nodes)
        return settings->backend;
    static char made[] = "bench";
    const char *backend = settings->backend ? settings->backend : made;
    char words[2][NAME_ROOM * 2];
    snprintf(words[0], sizeof words[0], "name=%s", backend);
    snprintf(words[1], sizeof words[1], "node=%s", name);
    request(context, make("backend-add", (char *const[]){words[0], words[1]}, 2, "--backend"),
            "the backend of the last --node");
    return backend;
}

/* --- CPUs. */

static bool allowed(const cpu_set_t *set, int cpu)
{
    return cpu >= 0 && cpu < CPU_SETSIZE && CPU_ISSET(cpu, set);
}

/* Chooses what was not given: the reactors get the first CPUs that are allowed, over again when
 * there are too few, and the submitter the first that no reactor is on, else the last. */
static void choose_cpus(struct settings *settings)
{
    cpu_set_t set, taken;
    if (sched_getaffinity(0, sizeof set, &set))
        die("the CPUs that may be used can't be read: %s", strerror(errno));
    CPU_ZERO(&taken);
    int cpu = -1;
    for (unsigned i = 0; i < settings->threads; i++) {
        if (!settings->cpus_given) {
            do
                cpu = (cpu + 1) % CPU_SETSIZE;
            while (!CPU_ISSET(cpu, &set));
            settings->reactor_cpus[i] = cpu;
        }
        if (!allowed(&set, settings->reactor_cpus[i]))
            die("--cpus: this process may not run on CPU %d; see taskset -p $$",
                settings->reactor_cpus[i]);
        CPU_SET(settings->reactor_cpus[i], &taken);
    }
    if (settings->cpu == CPU_CHOOSE)
        for (int i = 0; i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, &set) && (settings->cpu == CPU_CHOOSE || !CPU_ISSET(i, &taken))) {
                settings->cpu = i;
                if (!CPU_ISSET(i, &taken))
                    break;
            }
    if (!allowed(&set, settings->cpu))
        die("--cpu: this process may not run on CPU %d; see taskset -p $$", settings->cpu);
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        die("the submitter can't be put on CPU %d: %s", cpu, strerror(errno));
}

/* --- Results. */

/* 1234567 as "1.23 M", in steps of `base` (1000 or 1024). */
static const char *scaled(double value, double base, char out[24])
{
    static const char *const decimal[] = {"", "k", "M", "G", "T"};
    static const char *const binary[] = {"", "Ki", "Mi", "Gi", "Ti"};
    unsigned unit = 0;
    while (value >= base && unit < 4) {
        value /= base;
        unit++;
    }
    snprintf(out, 24, "%.*f %s",
             unit == 0     ? 0
             : value < 10  ? 2
             : value < 100 ? 1
                           : 0,
             value, (base < 1024 ? decimal : binary)[unit]);
    return out;
}

static const struct settings *progress_settings; /* the running load's, for the live line */

static void show_progress(double elapsed_s, double interval_s, uint64_t requests)
{
    char iops[24], bandwidth[24];
    double rate = (double)requests / interval_s;
    fprintf(stderr, "%s%5.1f s of %.1f  %8sIOPS  %9sB/s%s", isatty(2) ? "\r" : "", elapsed_s,
            (double)progress_settings->load.runtime_ns / 1e9, scaled(rate, 1000, iops),
            scaled(rate * (double)progress_settings->load.block, 1024, bandwidth),
            isatty(2) ? "\033[K" : "\n");
}

static const char *const kind_names[LOAD_KINDS] = {"read", "write"};

static const struct quantile {
    const char *name;
    double fraction;
} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}};

enum { QUANTILES = sizeof quantiles / sizeof *quantiles };

static void print_latency(const struct histogram *latency)
{
    printf("        latency us: min %.1f  mean %.1f", (double)latency->min / 1e3,
           (double)latency->sum / (double)latency->count / 1e3);
    for (unsigned i = 0; i < QUANTILES; i++)
        printf("  %s %.1f", quantiles[i].name,
               (double)histogram_quantile(latency, quantiles[i].fraction) / 1e3);
    printf("  max %.1f\n", (double)latency->max / 1e3);
}

static void print_table(const struct settings *settings, const struct load_result *result)
{
    char iops[24], bandwidth[24];
    uint64_t total = 0;
    for (unsigned kind = 0; kind < LOAD_KINDS; kind++) {
        uint64_t n = result->requests[kind];
        total += n;
        if (kind == LOAD_READ ? !settings->reads : !settings->writes)
            continue;
        double rate = (double)n / result->seconds;
        printf("%-6s  %sIOPS  %sB/s  (%llu requests of %llu bytes in %.2f s)\n", kind_names[kind],
               scaled(rate, 1000, iops),
               scaled(rate * (double)settings->load.block, 1024, bandwidth), (unsigned long long)n,
               (unsigned long long)settings->load.block, result->seconds);
        if (settings->load.latency && n)
            print_latency(&result->latency[kind]);
    }
    double engine = result->process_cpu_s - result->submitter_cpu_s;
    printf("cpu     submitter %.0f%%  engine %.0f%%",
           result->submitter_cpu_s / result->seconds * 100, engine / result->seconds * 100);
    if (total)
        printf("  engine per request %.3f us", engine / (double)total * 1e6);
    printf("\n");
}

static void print_json(const struct settings *settings, const struct load_result *result)
{
    uint64_t total = result->requests[LOAD_READ] + result->requests[LOAD_WRITE];
    double engine = result->process_cpu_s - result->submitter_cpu_s;
    printf("{\"rw\": \"%s\", \"bs\": %llu, \"iodepth\": %u, \"seconds\": %.6f, \"iops\": %.1f, "
           "\"bytes_per_s\": %.1f, \"failed\": %llu,\n \"cpu\": {\"submitter_s\": %.6f, "
           "\"engine_s\": %.6f, \"engine_us_per_request\": %.4f}",
           settings->rw, (unsigned long long)settings->load.block, settings->load.depth,
           result->seconds, (double)total / result->seconds,
           (double)(total * settings->load.block) / result->seconds,
           (unsigned long long)result->failed, result->submitter_cpu_s, engine,
           total ? engine / (double)total * 1e6 : 0);
    for (unsigned kind = 0; kind < LOAD_KINDS; kind++) {
        const struct histogram *latency = &result->latency[kind];
        uint64_t n = result->requests[kind];
        printf(",\n \"%s\": {\"requests\": %llu, \"iops\": %.1f", kind_names[kind],
               (unsigned long long)n, (double)n / result->seconds);
        if (settings->load.latency && n) {
            printf(", \"latency_us\": {\"min\": %.3f, \"mean\": %.3f", (double)latency->min / 1e3,
                   (double)latency->sum / (double)latency->count / 1e3);
            for (unsigned i = 0; i < QUANTILES; i++)
                printf(", \"%s\": %.3f", quantiles[i].name,
                       (double)histogram_quantile(latency, quantiles[i].fraction) / 1e3);
            printf(", \"max\": %.3f}", (double)latency->max / 1e3);
        }
        printf("}");
    }
    printf("}\n");
}

static void on_signal(int number)
{
    (void)number;
    load_interrupt();
}

int main(int argc, char **argv)
{
    static struct settings settings;
    static struct load_result result;
    settings_read(&settings, argc, argv);
    choose_cpus(&settings);

    /* Nobody waits for what is still under way in the end. */
    struct sluice_options options = {
        .threads = settings.threads, .cpus = settings.reactor_cpus, .deadline_ms = 1000};
    sluice *engine;
    blk_context *context;
    blk *blk;
    char *error = NULL;
    if (sluice_start(&options, &engine, &error))
        die("%s", error);
    pin(settings.cpu);
    if (blk_context_open(engine, settings.load.depth + 16, &context, &error))
        die("%s", error);
    const char *name = set_up(context, &settings);
    if (blk_open(context, name, settings.writes ? BLK_WRITABLE : 0, &blk, &error))
        die("%s", error);

    int64_t length = blk_getlength(blk);
    if (length < 0)
        die("backend %s: its length can't be told: %s", name, strerror((int)-length));
    if (settings.size > (uint64_t)length)
        die("--size %llu: backend %s has %lld bytes only", (unsigned long long)settings.size, name,
            (long long)length);
    settings.load.size = settings.size ? settings.size : (uint64_t)length;
    if (settings.load.size < settings.load.block)
        die("--bs %llu: a request is longer than the %llu bytes to use",
            (unsigned long long)settings.load.block, (unsigned long long)settings.load.size);

    bool live =
        settings.progress == PROGRESS_ON || (settings.progress == PROGRESS_AUTO && isatty(2));
    progress_settings = &settings;
    if (live)
        settings.load.progress = show_progress;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (load_run(context, blk, &settings.load, &result))
        die("there is no memory for %u requests of %llu bytes", settings.load.depth,
            (unsigned long long)settings.load.block);
    if (live && isatty(2))
        fputs("\r\033[K", stderr);

    if (settings.json)
        print_json(&settings, &result);
    else
        print_table(&settings, &result);
    fflush(stdout);
    if (result.stuck)
        die("%llu requests never ended", (unsigned long long)result.stuck);
    blk_close(&blk);
    blk_context_close(&context);
    sluice_stop(&engine);
    if (result.failed)
        die("%llu requests failed, the first with: %s", (unsigned long long)result.failed,
            strerror(-result.first_error));
    return 0;
}
