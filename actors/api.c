/* api.c — starting and stopping an engine inside a program. See context.c and blk.c for the rest of
 * the public interface. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "actors/context.h"
#include "actors/control.h"
#include "actors/events.h"
#include "actors/graph.h"
#include "drivers/driver.h"
#include "engine/clock.h"
#include "engine/mem.h"
#include "proto/help.h"

_Static_assert(SLUICE_THREADS_MAX == ENGINE_THREADS_MAX, "sluice.h says what the engine can");

#define EVENTS_KEPT     65536
#define EVENTS_KEPT_MAX 100000000
#define DEADLINE_MS     30000
#define DESCRIPTORS     64 /* that must be free to start */

int context_error(char **error, int code, const char *text)
{
    if (error)
        *error = code < 0 ? mem_string(text) : NULL;
    return code;
}

const char *sluice_version(void)
{
    return SLUICE_VERSION;
}

const char *sluice_control_endpoint(const sluice *engine)
{
    return engine->control;
}

const char *sluice_events_endpoint(const sluice *engine)
{
    return engine->events;
}

int sluice_shutdown_fd(const sluice *engine)
{
    return engine->shutdown_fd;
}

/* --- Starting */

/* The threads of a ZeroMQ context are made with its first socket, and inherit the CPUs of whoever
 * makes it: that must not be a pinned reactor. */
static void *zmq_unpinned(void)
{
    void *context = zmq_ctx_new();
    void *first = context ? zmq_socket(context, ZMQ_PAIR) : NULL;
    if (first)
        zmq_close(first);
    return context;
}

static int check_options(const struct sluice_options *options, struct err *err)
{
    if (options->cpus && !options->threads)
        return err_set(err, -EINVAL,
                       "the CPUs of the reactors are given, but not how many: set threads too");
    if (options->events_kept > EVENTS_KEPT_MAX)
        return err_set(err, -EINVAL, "%u events were asked to be kept; %d are the most",
                       options->events_kept, EVENTS_KEPT_MAX);
    return 0;
}

/* libzmq ends the process when it gets no descriptor for an epoll of its own, so it isn't asked to
 * start where they are short. */
static int check_descriptors(int one, struct err *err)
{
    int fds[DESCRIPTORS], n = 0, ret = 0;
    while (one >= 0 && n < DESCRIPTORS && (fds[n] = fcntl(one, F_DUPFD_CLOEXEC, 0)) >= 0)
        n++;
    if (n < DESCRIPTORS)
        ret = err_set(err, -errno,
                      "the engine could not be started: %s; raise the limit on open files "
                      "(ulimit -n), of which it needs %d more",
                      strerror(errno), DESCRIPTORS - n);
    while (n-- > 0)
        close(fds[n]);
    return ret;
}

static int make_engine(sluice *sluice, const struct sluice_options *options, struct err *err)
{
    struct engine_options made = {
        .threads = options->threads,
        .cpus = options->cpus,
        .bodies = mail_bodies,
        .nbodies = MAIL_COUNT,
        .world = &sluice->world,
    };
    sluice->engine = engine_new(&made, err);
    if (!sluice->engine)
        return err->code;
    sluice->world.threads = engine_threads(sluice->engine);
    sluice->world.incoming = options->incoming;
    sluice->world.graph = engine_spawn(sluice->engine, &graph_type, "graph", 0);
    sluice->world.events = engine_spawn(sluice->engine, &events_type, "events", 0);
    sluice->world.control = engine_spawn(sluice->engine, &control_type, "control", 0);
    int ret = engine_start(sluice->engine, err);
    if (ret < 0)
        return ret;
    sluice->port = port_open(sluice->engine, err);
    return sluice->port ? 0 : err->code;
}

/* Asks one of the two to open, and keeps the endpoint in use. */
static int open_endpoint(sluice *sluice, actor_addr to, unsigned kind, void *body, char **endpoint,
                         struct err *err)
{
    void *reply = NULL;
    int ret = port_call(sluice->port, to, kind, body, &reply, err);
    if (ret < 0)
        return ret;
    free(*endpoint);
    *endpoint = mem_string(((Sluice__EndpointOpened *)reply)->endpoint);
    mail_free_body(reply);
    return 0;
}

static int open_endpoints(sluice *sluice, const struct sluice_options *options, struct err *err)
{
    Sluice__EventsOpen *events = MAIL_NEW(sluice__events_open);
    mail_set(&events->endpoint, options->events ? options->events : "");
    events->context = (uint64_t)(uintptr_t)sluice->zmq;
    events->kept = options->events_kept ? options->events_kept : EVENTS_KEPT;
    int ret =
        open_endpoint(sluice, sluice->world.events, MAIL_EVENTS_OPEN, events, &sluice->events, err);
    if (ret < 0)
        return ret;
    sluice->events_open = true;
    Sluice__ControlOpen *control = MAIL_NEW(sluice__control_open);
    mail_set(&control->endpoint, options->control ? options->control : "");
    control->context = (uint64_t)(uintptr_t)sluice->zmq;
    control->shutdown_fd = sluice->shutdown_fd;
    ret = open_endpoint(sluice, sluice->world.control, MAIL_CONTROL_OPEN, control, &sluice->control,
                        err);
    sluice->control_open = ret == 0;
    return ret;
}

int sluice_start(const struct sluice_options *options, sluice **engine, char **error)
{
    static const struct sluice_options none;
    struct err err = {0};
    if (!options)
        options = &none;
    sluice *sluice = MEM_NEW(struct sluice);
    sluice->control = mem_string("");
    sluice->events = mem_string("");
    sluice->deadline_ns = (options->deadline_ms ? options->deadline_ms : DEADLINE_MS) * NS_PER_MS;
    sluice->shutdown_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int ret = check_descriptors(sluice->shutdown_fd, &err);
    if (ret == 0)
        ret = check_options(options, &err);
    if (ret == 0 && !(sluice->zmq = zmq_unpinned()))
        ret = err_set(&err, -errno, "the engine could not be started: %s", strerror(errno));
    if (ret == 0)
        ret = make_engine(sluice, options, &err);
    if (ret == 0)
        ret = open_endpoints(sluice, options, &err);
    if (ret < 0)
        sluice_stop(&sluice);
    *engine = sluice;
    return context_error(error, ret, err.text);
}

/* --- Stopping */

void sluice_shutdown(sluice *sluice)
{
    Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
    shutdown->deadline = sluice->deadline_ns;
    port_tell(sluice->port, sluice->world.graph, MAIL_SHUTDOWN, shutdown);
    port_flush(sluice->port);
}

static void close_actor(sluice *sluice, actor_addr actor)
{
    port_call(sluice->port, actor, MAIL_CLOSE, NULL, NULL, NULL);
}

/* Users before what they use; events last, so that the last of what happens is told. */
static void close_actors(sluice *sluice)
{
    Sluice__Shutdown *shutdown = MAIL_NEW(sluice__shutdown);
    shutdown->deadline = sluice->deadline_ns;
    port_call(sluice->port, sluice->world.graph, MAIL_SHUTDOWN, shutdown, NULL, NULL);
    if (sluice->control_open)
        close_actor(sluice, sluice->world.control);
    if (sluice->events_open)
        close_actor(sluice, sluice->world.events);
}

void sluice_stop(sluice **self)
{
    sluice *sluice = *self;
    if (!sluice)
        return;
    *self = NULL;
    if (sluice->port) {
        close_actors(sluice);
        port_close(&sluice->port);
    }
    engine_free(&sluice->engine);
    if (sluice->zmq)
        zmq_ctx_term(sluice->zmq);
    if (sluice->shutdown_fd >= 0)
        close(sluice->shutdown_fd);
    free(sluice->control);
    free(sluice->events);
    free(sluice);
}

/* --- Help */

/* In the words of the requests' help: on|off, SIZE, … */
static const char *value_word(const struct option *option)
{
    static const char *const words[] = {
        [OPTION_STRING] = "TEXT",    [OPTION_SIZE] = "SIZE",     [OPTION_SWITCH] = "on|off",
        [OPTION_INTEGER] = "NUMBER", [OPTION_DURATION] = "TIME",
    };
    return option->type == OPTION_CHOICE ? option->choices : words[option->type];
}

static void print_option(FILE *out, const struct option *option)
{
    bool preset = option->preset && *option->preset, fits = preset && strlen(option->preset) < 20;
    char *text = NULL;
    if (asprintf(&text, "%s%s%s%s", option->help, option->live ? "; can be set while open" : "",
                 preset && !fits ? "; left out, it is " : "",
                 preset && !fits ? option->preset : "") < 0)
        abort();
    fprintf(out, "    %s=%s%s%s%s%s\n      ", option->name, value_word(option),
            option->required ? " (required)" : "", fits ? " [" : "", fits ? option->preset : "",
            fits ? "]" : "");
    help_wrap(out, text, 6);
    free(text);
}

void sluice_print_drivers(FILE *out)
{
    for (const struct driver *const *driver = drivers; *driver; driver++) {
        fprintf(out, "  %s%s\n      ", (*driver)->name,
                (*driver)->backing  ? " (child=NODE backing=NODE)"
                : (*driver)->filter ? " (child=NODE)"
                                    : "");
        help_wrap(out, (*driver)->help, 6);
        for (const struct option *o = (*driver)->options; o && o->name; o++)
            print_option(out, o);
    }
}
