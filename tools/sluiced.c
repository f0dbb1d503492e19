/* sluiced.c — the daemon: starts the engine, does what options and files ask, waits, stops. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <systemd/sd-daemon.h>

#include "actors/sluice.h"
#include "proto/check.h"
#include "proto/config.h"
#include "proto/help.h"
#include "proto/reflect.h"
#include "proto/units.h"
#include "proto/words.h"
#include "tools/defaults.h"

#define STOP_PATIENCE_MS 1000 /* of stopping, before a word about it */

/* A request to be performed once the engine runs. */
struct order {
    char *from; /* what it was given as, for sentences: "--node …" or "FILE: line N" */
    Sluice__Request *request;
};

struct daemon {
    struct sluice_options options;
    char control[ENDPOINT_MAX], events[ENDPOINT_MAX];
    struct order *orders;
    size_t norders;
    sluice *engine;
    blk_context *context;
    char *exports; /* URIs of the exports, each after " export=" */
    int signals;   /* signalfd */
    int stopped;   /* eventfd: the engine has */
};

static int complain(const char *what, const char *text)
{
    fprintf(stderr, "sluiced: %s%s%s\n", what, *what ? ": " : "", text);
    return -1;
}

static void *or_abort(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

/* --- what is asked for -------------------------------------------------------------------------
 */

static void add_order(struct daemon *daemon, const char *from, Sluice__Request *request)
{
    daemon->orders =
        or_abort(realloc(daemon->orders, (daemon->norders + 1) * sizeof *daemon->orders));
    daemon->orders[daemon->norders++] = (struct order){or_abort(strdup(from)), request};
}

static int add_words(struct daemon *daemon, const char *option, const char *body, const char *text)
{
    struct words words;
    struct refusal refusal;
    char *from = NULL;
    if (asprintf(&from, "--%s %s", option, text) < 0)
        abort();
    words_split_commas(text, &words);
    Sluice__Request *request = words_request(reflect_field(&sluice__request__descriptor, body),
                                             words.word, words.n, &refusal);
    if (request)
        add_order(daemon, from, request);
    else
        complain(from, refusal.text);
    words_free(&words);
    free(from);
    return request ? 0 : -1;
}

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "re");
    struct stat found;
    if (!file || fstat(fileno(file), &found) < 0 || S_ISDIR(found.st_mode)) {
        complain(path,
                 file && S_ISDIR(found.st_mode) ? "this is a folder, not a file" : strerror(errno));
        if (file)
            fclose(file);
        return NULL;
    }
    char *text = or_abort(malloc(CONFIG_SIZE + 1));
    *size = fread(text, 1, CONFIG_SIZE + 1, file);
    bool failed = ferror(file);
    fclose(file);
    if (!failed)
        return text;
    complain(path, "can't read it");
    free(text);
    return NULL;
}

static int add_file(struct daemon *daemon, const char *path)
{
    struct config config;
    struct refusal refusal;
    size_t size;
    char *text = read_file(path, &size);
    if (!text)
        return -1;
    int ret = config_parse(text, size, &config, &refusal);
    free(text);
    if (ret)
        return complain(path, refusal.text);
    for (size_t i = 0; i < config.n; i++) {
        char *from = NULL;
        if (asprintf(&from, "%s: line %u", path, config.items[i].line) < 0)
            abort();
        add_order(daemon, from, config.items[i].request);
        config.items[i].request = NULL;
        free(from);
    }
    config_free(&config);
    return 0;
}

static void print_usage(void)
{
    char control[ENDPOINT_MAX], events[ENDPOINT_MAX];
    printf("Usage: sluiced [OPTION]…\n"
           "\n"
           "Serves block devices. Nodes hold data, backends stand before them, exports offer\n"
           "them to clients; all can be added and removed while it runs (see `sluice --help`).\n"
           "SIGTERM, SIGINT and SIGHUP stop it in order; a second SIGTERM or SIGINT ends it at\n"
           "once, with status 1.\n"
           "\n"
           "Options:\n"
           "  -t, --threads N         reactors: threads, each pinned to a CPU [one per CPU]\n"
           "      --control ENDPOINT  where to take requests: ipc://PATH, tcp://127.0.0.1:PORT\n"
           "                          or none [%s]\n"
           "      --events ENDPOINT   where to publish events, or none\n"
           "                          [%s]\n"
           "      --events-kept N     events that can be replayed [65536]\n"
           "      --deadline TIME     what stopping may take before requests that still wait\n"
           "                          end with an error [30s]\n"
           "      --incoming          another process still owns the images: they are opened,\n"
           "                          but not taken, until `sluice resume`\n"
           "  -h, --help              this text\n"
           "  -V, --version           the version\n"
           "\n"
           "What to begin with, done in the order given. In key=value lists a comma in a\n"
           "value is doubled:\n"
           "      --config FILE       a list of requests, as YAML or JSON\n"
           "      --node driver=NAME,name=NAME[,KEY=VALUE]…\n"
           "      --throttle name=NAME[,KEY=VALUE]…\n"
           "      --backend name=NAME[,KEY=VALUE]…\n"
           "      --export type=nbd,backend=NAME[,KEY=VALUE]…\n"
           "\n"
           "Keys of --node:\n",
           default_endpoint("control", control), default_endpoint("events", events));
    help_fields(stdout, &sluice__node_add__descriptor);
    printf("\nKeys of --throttle:\n");
    help_fields(stdout, &sluice__throttle_group_add__descriptor);
    printf("\nKeys of --backend:\n");
    help_fields(stdout, &sluice__backend_add__descriptor);
    printf("\nKeys of --export:\n");
    help_fields(stdout, &sluice__export_add__descriptor);
    printf("\nDrivers and their options:\n");
    sluice_print_drivers(stdout);
    printf("\nA configuration file holds the same requests, and any other that `sluice --help`\n"
           "lists:\n"
           "  - node-add:    {driver: file, name: disk, filename: /srv/disk.img}\n"
           "  - backend-add: {name: vd0, node: disk}\n"
           "  - export-add:  {type: nbd, backend: vd0, unix: /run/vd0.sock, writable: on}\n");
}

static int bad_option(const char *option, const char *value, const char *form)
{
    fprintf(stderr, "sluiced: --%s is \"%s\", but must be %s\n", option, value, form);
    return -1;
}

static int parse_number(const char *option, const char *value, uint64_t most, unsigned *out)
{
    char form[64];
    uint64_t number;
    if (units_parse_size(value, &number) || number == 0 || number > most) {
        snprintf(form, sizeof form, "1 to %" PRIu64, most);
        return bad_option(option, value, form);
    }
    *out = (unsigned)number;
    return 0;
}

static int set_endpoint(const char *option, const char *value, char out[ENDPOINT_MAX])
{
    if (snprintf(out, ENDPOINT_MAX, "%s", value) >= ENDPOINT_MAX)
        return bad_option(option, value, "shorter");
    return 0;
}

static int set_option(struct daemon *daemon, int option, const char *value)
{
    uint64_t ns;
    switch (option) {
    case 't':
        return parse_number("threads", value, SLUICE_THREADS_MAX, &daemon->options.threads);
    case 'c':
        return set_endpoint("control", value, daemon->control);
    case 'e':
        return set_endpoint("events", value, daemon->events);
    case 'k':
        return parse_number("events-kept", value, 100000000, &daemon->options.events_kept);
    case 'd':
        if (units_parse_duration(value, &ns) || ns < 1000000 || ns / 1000000 > 86400000)
            return bad_option("deadline", value, "1ms to 24h: " UNITS_DURATION_FORM);
        daemon->options.deadline_ms = (unsigned)(ns / 1000000);
        return 0;
    case 'i':
        daemon->options.incoming = true;
        return 0;
    case 'f':
        return add_file(daemon, value);
    case 'n':
        return add_words(daemon, "node", "node_add", value);
    case 'g':
        return add_words(daemon, "throttle", "throttle_add", value);
    case 'b':
        return add_words(daemon, "backend", "backend_add", value);
    case 'x':
        return add_words(daemon, "export", "export_add", value);
    default:
        return -1; /* getopt has told why */
    }
}

/* Returns 0 to go on, 1 when all is said, negative for wrong usage. */
static int read_options(struct daemon *daemon, int argc, char **argv)
{
    static const struct option options[] = {
        {"threads", required_argument, NULL, 't'},  {"control", required_argument, NULL, 'c'},
        {"events", required_argument, NULL, 'e'},   {"events-kept", required_argument, NULL, 'k'},
        {"deadline", required_argument, NULL, 'd'}, {"config", required_argument, NULL, 'f'},
        {"incoming", no_argument, NULL, 'i'},       {"node", required_argument, NULL, 'n'},
        {"throttle", required_argument, NULL, 'g'}, {"backend", required_argument, NULL, 'b'},
        {"export", required_argument, NULL, 'x'},   {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},        {0},
    };
    int option;
    default_endpoint("control", daemon->control);
    default_endpoint("events", daemon->events);
    while ((option = getopt_long(argc, argv, "t:hV", options, NULL)) != -1) {
        if (option == 'h') {
            print_usage();
            return 1;
        }
        if (option == 'V') {
            printf("sluiced %s\n", sluice_version());
            return 1;
        }
        if (set_option(daemon, option, optarg))
            return -1;
    }
    if (optind < argc)
        return complain(argv[optind], "this is no option; `sluiced --help` tells what there is");
    bool control = strcmp(daemon->control, "none") != 0;
    bool events = strcmp(daemon->events, "none") != 0;
    daemon->options.control = control ? daemon->control : NULL;
    daemon->options.events = events ? daemon->events : NULL;
    return 0;
}

/* --- running -----------------------------------------------------------------------------------
 */

static Sluice__Reply *perform(struct daemon *daemon, const Sluice__Request *request, int *ret)
{
    void *packed;
    size_t packed_size, size = sluice__request__get_packed_size(request);
    uint8_t *data = or_abort(malloc(size + 1));
    sluice__request__pack(request, data);
    *ret = sluice_request_packed(daemon->context, data, size, &packed, &packed_size);
    free(data);
    if (*ret)
        return NULL;
    Sluice__Reply *reply =
        check_unpack(&sluice__reply__descriptor, packed, packed_size, CHECK_SERVER, NULL);
    free(packed);
    *ret = reply ? 0 : -EPROTO;
    return reply;
}

static void note_export(struct daemon *daemon, const Sluice__ExportInfo *info)
{
    char *longer = NULL;
    if (asprintf(&longer, "%s export=%s", daemon->exports ? daemon->exports : "",
                 info->uri ? info->uri : info->id) < 0)
        abort();
    free(daemon->exports);
    daemon->exports = longer;
}

static int follow_order(struct daemon *daemon, const struct order *order)
{
    int ret;
    Sluice__Reply *reply = perform(daemon, order->request, &ret);
    if (!reply)
        return complain(order->from, strerror(-ret));
    if (reply->body_case == SLUICE__REPLY__BODY_ERROR)
        ret = complain(order->from, reply->error->message);
    else if (reply->body_case == SLUICE__REPLY__BODY_EXPORT)
        note_export(daemon, reply->export);
    sluice__reply__free_unpacked(reply, NULL);
    return ret;
}

static int start(struct daemon *daemon)
{
    char *error = NULL;
    if (sluice_start(&daemon->options, &daemon->engine, &error) ||
        blk_context_open(daemon->engine, 0, &daemon->context, &error)) {
        complain("", error ? error : "the engine does not start");
        free(error);
        return -1;
    }
    for (size_t i = 0; i < daemon->norders; i++)
        if (follow_order(daemon, &daemon->orders[i]))
            return -1;
    return 0;
}

static void tell_ready(const struct daemon *daemon)
{
    const char *control = sluice_control_endpoint(daemon->engine);
    const char *events = sluice_events_endpoint(daemon->engine);
    printf("sluiced ready: control=%s events=%s%s\n", *control ? control : "none",
           *events ? events : "none", daemon->exports ? daemon->exports : "");
    fflush(stdout);
    sd_notify(0, "READY=1");
}

static int take_signal(struct daemon *daemon)
{
    struct signalfd_siginfo info;
    return read(daemon->signals, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

static void wait_for_end(struct daemon *daemon)
{
    struct pollfd fds[] = {
        {.fd = daemon->signals, .events = POLLIN},
        {.fd = sluice_shutdown_fd(daemon->engine), .events = POLLIN},
    };
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    if (fds[0].revents)
        take_signal(daemon);
    sd_notify(0, "STOPPING=1");
}

/* --- stopping ----------------------------------------------------------------------------------
 */

static void tell_wait(const struct daemon *daemon)
{
    char limit[UNITS_TEXT];
    units_print_duration(daemon->options.deadline_ms * UINT64_C(1000000), limit);
    fprintf(stderr,
            "sluiced: stopping waits for requests that are under way, %s at most from when it "
            "began; SIGTERM or SIGINT ends it at once\n",
            limit);
}

/* While the main thread waits for the engine, here is what the operator sees and can do. */
static void *watch_stop(void *arg)
{
    struct daemon *daemon = arg;
    struct pollfd fds[] = {
        {.fd = daemon->signals, .events = POLLIN},
        {.fd = daemon->stopped, .events = POLLIN},
    };
    int patience_ms = STOP_PATIENCE_MS;
    for (;;) {
        int ret = poll(fds, 2, patience_ms);
        if (fds[1].revents)
            return NULL;
        if (ret == 0) {
            tell_wait(daemon);
            patience_ms = -1;
        }
        if (ret > 0 && take_signal(daemon) != SIGHUP)
            _exit(1);
    }
}

static void stop_engine(struct daemon *daemon)
{
    pthread_t watcher;
    daemon->stopped = eventfd(0, EFD_CLOEXEC);
    bool watched = daemon->stopped >= 0 && pthread_create(&watcher, NULL, watch_stop, daemon) == 0;
    if (daemon->context)
        blk_context_close(&daemon->context);
    sluice_stop(&daemon->engine);
    if (watched) {
        eventfd_write(daemon->stopped, 1);
        pthread_join(watcher, NULL);
    }
    close(daemon->stopped);
}

static void stop(struct daemon *daemon)
{
    if (daemon->engine)
        stop_engine(daemon);
    for (size_t i = 0; i < daemon->norders; i++) {
        free(daemon->orders[i].from);
        sluice__request__free_unpacked(daemon->orders[i].request, NULL);
    }
    free(daemon->orders);
    free(daemon->exports);
    close(daemon->signals);
}

/* Connections and images take a descriptor each; the usual soft limit of 1024 is for programs that
 * use select(). */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Blocked before there are threads, so that they inherit it: signals come over a descriptor. */
static int catch_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(int argc, char **argv)
{
    struct daemon daemon = {.signals = catch_signals(), .options.deadline_ms = 30000};
    int ret = read_options(&daemon, argc, argv);
    if (ret == 0) {
        raise_descriptor_limit();
        ret = start(&daemon);
        if (ret == 0) {
            tell_ready(&daemon);
            wait_for_end(&daemon);
        }
    }
    stop(&daemon);
    return ret < 0 ? 1 : 0;
}
