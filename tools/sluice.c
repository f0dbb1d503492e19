/* sluice.c — the command line: builds one request of its words, prints the reply. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/convert.h"
#include "proto/help.h"
#include "proto/reflect.h"
#include "proto/render.h"
#include "proto/units.h"
#include "proto/words.h"
#include "tools/client.h"
#include "tools/defaults.h"
#include "tools/follow.h"

enum { DONE = 0, REFUSED = 1, USAGE = 2 };

#define INPUT_MAX (1 << 20) /* bytes of data from standard input */

struct settings {
    char control[ENDPOINT_MAX], events[ENDPOINT_MAX];
    bool json, raw, help, follow, since_given;
    uint64_t since, count;
    int timeout_ms;
};

static int complain(int status, const char *text)
{
    fprintf(stderr, "sluice: %s\n", text);
    return status;
}

/* --- help --------------------------------------------------------------------------------------
 */

static void print_usage(void)
{
    char control[ENDPOINT_MAX], events[ENDPOINT_MAX];
    printf("Usage: sluice [OPTION]… REQUEST [KEY=VALUE]…\n"
           "       sluice [OPTION]… events [--since N] [--count N] [--follow]\n"
           "       sluice REQUEST --help\n"
           "\n"
           "Asks a running sluiced. A request is one word (node-add) or two (node add). A\n"
           "word without = is the value of the first required key that is not given, so\n"
           "`sluice node show disk` is `sluice node show name=disk`. Sizes take K, M, G, T,\n"
           "P, E (powers of 1024).\n"
           "\n"
           "Options:\n"
           "  -s, --server ENDPOINT  control endpoint [%s]\n"
           "  -e, --events ENDPOINT  events endpoint [%s],\n"
           "                         or -s with \"events\" for \"control\"\n"
           "      --json             print replies as JSON; events one a line\n"
           "      --raw              the data that an io request returns goes to standard\n"
           "                         output as it is; the data that it takes comes from\n"
           "                         standard input, where none is given\n"
           "      --timeout SECONDS  how long to wait for a reply [30]\n"
           "  -h, --help             this text, or that of a request\n"
           "  -V, --version          the version\n"
           "\n"
           "Events (`sluice events`): prints those that are kept, oldest first.\n"
           "      --since N          begin with event number N\n"
           "      --count N          end after N events\n"
           "  -f, --follow           print events as they happen, after those from --since;\n"
           "                         ends when the engine shuts down\n"
           "\n"
           "Exit status: 0 done, 1 refused or no daemon, 2 wrong usage.\n"
           "\n"
           "Requests:\n",
           default_endpoint("control", control), default_endpoint("events", events));
    help_requests(stdout, "");
}

static int print_help(char *const *words, size_t n)
{
    struct refusal refusal;
    size_t used;
    if (n == 0) {
        print_usage();
        return DONE;
    }
    const ProtobufCFieldDescriptor *body = words_request_name(words, n, &used, &refusal);
    if (body) {
        char name[REFLECT_NAME];
        printf("Usage: sluice %s%s\n\n", reflect_name(body->name, name),
               ((const ProtobufCMessageDescriptor *)body->descriptor)->n_fields ? " KEY=VALUE…"
                                                                                : "");
        help_request(stdout, body);
        return DONE;
    }
    char prefix[REFLECT_NAME];
    snprintf(prefix, sizeof prefix, "%.50s_", words[0]);
    if (n == 1 && strstr(refusal.text, "can be followed by")) {
        printf("Requests about a %s (`sluice %s VERB --help` tells more):\n", words[0], words[0]);
        help_requests(stdout, prefix);
        return DONE;
    }
    return complain(USAGE, refusal.text);
}

/* --- requests ----------------------------------------------------------------------------------
 */

static int print_error(const struct settings *settings, const Sluice__Reply *reply)
{
    if (settings->json) {
        char *text = convert_reply(reply);
        puts(text);
        free(text);
    }
    return complain(REFUSED, reply->error->message);
}

static int print_reply(const struct settings *settings, const Sluice__Reply *reply)
{
    if (reply->body_case == SLUICE__REPLY__BODY_ERROR)
        return print_error(settings, reply);
    if (settings->raw && reply->body_case == SLUICE__REPLY__BODY_IO) {
        if (reply->io->data.len > 0) /* without data there is no address either */
            fwrite(reply->io->data.data, 1, reply->io->data.len, stdout);
    } else if (settings->json) {
        char *text = convert_reply(reply);
        puts(text);
        free(text);
    } else {
        render_reply(stdout, reply);
    }
    if (fflush(stdout) || ferror(stdout))
        return complain(REFUSED, "can't write to standard output");
    return DONE;
}

/* Where the request lacks the data that standard input is to give; null when it doesn't. */
static ProtobufCBinaryData *lacking_data(const Sluice__Request *request)
{
    if (request->body_case == SLUICE__REQUEST__BODY_IO_SAVE_VMSTATE &&
        !request->io_save_vmstate->has_data) {
        request->io_save_vmstate->has_data = 1;
        return &request->io_save_vmstate->data;
    }
    if (request->body_case == SLUICE__REQUEST__BODY_IO_WRITE && !request->io_write->has_data &&
        !request->io_write->has_pattern) {
        request->io_write->has_data = 1;
        return &request->io_write->data;
    }
    if (request->body_case == SLUICE__REQUEST__BODY_IO_IOCTL && !request->io_ioctl->has_data &&
        !request->io_ioctl->has_bytes) {
        request->io_ioctl->has_data = 1;
        return &request->io_ioctl->data;
    }
    return NULL;
}

static int read_input(ProtobufCBinaryData *out)
{
    uint8_t *data = malloc(INPUT_MAX + 1);
    if (!data)
        abort();
    size_t size = fread(data, 1, INPUT_MAX + 1, stdin);
    if (ferror(stdin) || size > INPUT_MAX) {
        free(data);
        return complain(USAGE, size > INPUT_MAX ? "standard input has more than 1 MiB; write it in "
                                                  "pieces"
                                                : "can't read standard input");
    }
    out->data = data;
    out->len = size;
    return DONE;
}

static int send_request(const struct settings *settings, Sluice__Request *request)
{
    char error[CLIENT_ERROR];
    struct client *client = client_new(settings->control, settings->timeout_ms);
    Sluice__Reply *reply = client_call(client, request, error);
    int status = reply ? print_reply(settings, reply) : complain(REFUSED, error);
    if (reply)
        sluice__reply__free_unpacked(reply, NULL);
    client_free(&client);
    return status;
}

static int run_request(const struct settings *settings, char *const *words, size_t n)
{
    struct refusal refusal;
    size_t used;
    const ProtobufCFieldDescriptor *body = words_request_name(words, n, &used, &refusal);
    Sluice__Request *request = body ? words_request(body, words + used, n - used, &refusal) : NULL;
    if (!request)
        return complain(USAGE, refusal.text);
    int status = DONE;
    ProtobufCBinaryData *lacking = settings->raw ? lacking_data(request) : NULL;
    if (lacking)
        status = read_input(lacking);
    if (status == DONE)
        status = send_request(settings, request);
    sluice__request__free_unpacked(request, NULL);
    return status;
}

static int run_events(const struct settings *settings)
{
    struct follow follow = {
        .client = client_new(settings->control, settings->timeout_ms),
        .events = settings->events,
        .json = settings->json,
        .follow = settings->follow,
        .since_given = settings->since_given,
        .since = settings->since,
        .count = settings->count,
    };
    int status = follow_run(&follow);
    client_free(&follow.client);
    return status;
}

/* --- options -----------------------------------------------------------------------------------
 */

static int bad_option(const char *option, const char *value, const char *form)
{
    fprintf(stderr, "sluice: %s is \"%s\", but must be %s\n", option, value, form);
    return USAGE;
}

static int copy_endpoint(const char *option, const char *value, char out[ENDPOINT_MAX])
{
    if (snprintf(out, ENDPOINT_MAX, "%s", value) >= ENDPOINT_MAX)
        return bad_option(option, value, "shorter");
    return DONE;
}

static int set_option(struct settings *settings, int option, const char *value)
{
    uint64_t ns;
    switch (option) {
    case 's':
        return copy_endpoint("--server", value, settings->control);
    case 'e':
        return copy_endpoint("--events", value, settings->events);
    case 'j':
        settings->json = true;
        return DONE;
    case 'r':
        settings->raw = true;
        return DONE;
    case 't':
        if (units_parse_duration(value, &ns) || ns / 1000000 > 86400000 || ns < 1000000)
            return bad_option("--timeout", value, "1ms to 24h: " UNITS_DURATION_FORM);
        settings->timeout_ms = (int)(ns / 1000000);
        return DONE;
    case 'n':
        settings->since_given = true;
        if (units_parse_size(value, &settings->since))
            return bad_option("--since", value, "an event's number");
        return DONE;
    case 'c':
        if (units_parse_size(value, &settings->count) || settings->count == 0)
            return bad_option("--count", value, "a number above 0");
        return DONE;
    case 'f':
        settings->follow = true;
        return DONE;
    case 'h':
        settings->help = true;
        return DONE;
    default:
        return USAGE; /* getopt has told why */
    }
}

/* Without -e, the events are published beside where control listens: "" when its name doesn't tell
 * where that is. */
static void derive_events(struct settings *settings, bool server_given)
{
    if (*settings->events)
        return;
    char *last = NULL;
    for (char *at = settings->control; (at = strstr(at, "control")); at++)
        last = at;
    if (server_given && last)
        snprintf(settings->events, ENDPOINT_MAX, "%.*sevents%s", (int)(last - settings->control),
                 settings->control, last + strlen("control"));
    else if (!server_given)
        default_endpoint("events", settings->events);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"server", required_argument, NULL, 's'},
        {"events", required_argument, NULL, 'e'},
        {"json", no_argument, NULL, 'j'},
        {"raw", no_argument, NULL, 'r'},
        {"timeout", required_argument, NULL, 't'},
        {"since", required_argument, NULL, 'n'},
        {"count", required_argument, NULL, 'c'},
        {"follow", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {0},
    };
    struct settings settings = {.timeout_ms = 30000};
    int option;
    while ((option = getopt_long(argc, argv, "s:e:fhV", options, NULL)) != -1) {
        if (option == 'V') {
            puts("sluice " SLUICE_VERSION);
            return DONE;
        }
        int status = set_option(&settings, option, optarg);
        if (status)
            return status;
    }
    char *const *words = argv + optind;
    size_t n = (size_t)(argc - optind);
    if (settings.help)
        return print_help(words, n);
    if (n == 0)
        return complain(USAGE, "what to ask is missing; `sluice --help` tells what there is");
    bool server_given = *settings.control;
    if (!server_given)
        default_endpoint("control", settings.control);
    derive_events(&settings, server_given);
    if (strcmp(words[0], "events") != 0) {
        if (settings.follow || settings.since_given || settings.count)
            return complain(USAGE, "--since, --count and --follow go with events only");
        return run_request(&settings, words, n);
    }
    if (n > 1)
        return complain(USAGE, "events takes --since, --count and --follow, and no words");
    if (settings.follow && !*settings.events)
        return complain(USAGE, "-s does not tell where the events of that daemon are published; "
                               "name the events endpoint with -e");
    return run_events(&settings);
}
