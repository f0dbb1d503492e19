#include "actors/dispatch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/io.h"
#include "actors/kinds.h"
#include "actors/reply.h"
#include "drivers/driver.h"
#include "proto/reflect.h"

/* One request that somebody else performs. */
struct call {
    struct dispatcher *dispatcher;
    dispatch_done_fn *done;
    void *arg;
};

static struct call *call_new(struct dispatcher *dispatcher, dispatch_done_fn *done, void *arg)
{
    struct call *call = malloc(sizeof *call);
    if (!call)
        abort();
    *call = (struct call){dispatcher, done, arg};
    return call;
}

static void call_end(struct actor *self, struct call *call, Sluice__Reply *reply)
{
    struct call ended = *call;
    free(call);
    ended.done(self, reply, ended.arg);
}

/* --- passed on to another actor ----------------------------------------------------------------
 */

static void answered(struct actor *self, struct mail *mail, void *arg)
{
    Sluice__Reply *reply;
    struct err err;
    if (mail_fault(mail)) {
        mail_fault_err(mail, &err);
        reply = reply_err(&err);
    } else if (mail->kind == MAIL_REPLY && mail->body) {
        reply = (Sluice__Reply *)mail->body;
        mail->body = NULL;
    } else {
        reply = reply_done();
    }
    call_end(self, arg, reply);
}

static void pass_on(struct actor *self, actor_addr to, Sluice__Request *request, struct call *call)
{
    actor_ask(self, to, MAIL_REQUEST, request, answered, call);
}

static void to_graph(struct actor *self, Sluice__Request *request, struct call *call)
{
    pass_on(self, world(self)->graph, request, call);
}

static void to_events(struct actor *self, Sluice__Request *request, struct call *call)
{
    pass_on(self, world(self)->events, request, call);
}

/* --- answered here -----------------------------------------------------------------------------
 */

static void shut_down(struct actor *self, Sluice__Request *request, struct call *call)
{
    int fd = call->dispatcher->shutdown_fd;
    mail_free_body(request);
    if (fd < 0) {
        call_end(self, call,
                 reply_error(SLUICE__ERROR__CLASS__UNSUPPORTED, NULL, -ENOTSUP,
                             "shutdown: this program does not take it; end it by its own means"));
        return;
    }
    /* The reply first: it is on its way before the program learns that it is to end. */
    call_end(self, call, reply_done());
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n; /* a full counter is readable too */
}

static void *add_to(ProtobufCMessage *message, const char *field,
                    const ProtobufCMessageDescriptor *type)
{
    void *added = mail_new(type);
    *(void **)reflect_set(message, reflect_field(message->descriptor, field)) = added;
    return added;
}

/* `choices` is "a|b|c", or null. */
static void add_choices(Sluice__OptionInfo *info, const char *choices)
{
    const ProtobufCFieldDescriptor *field = reflect_field(info->base.descriptor, "choices");
    while (choices && *choices) {
        size_t length = strcspn(choices, "|");
        char *choice = strndup(choices, length);
        if (!choice)
            abort();
        *(char **)reflect_set(&info->base, field) = choice;
        choices += length + (choices[length] == '|');
    }
}

static void describe(Sluice__DriverList *list, const struct driver *driver)
{
    Sluice__DriverInfo *info = add_to(&list->base, "drivers", &sluice__driver_info__descriptor);
    mail_set(&info->name, driver->name);
    mail_set(&info->help, driver->help);
    info->has_filter = 1;
    info->filter = driver->filter;
    info->has_backing = driver->backing;
    info->backing = driver->backing;
    for (const struct option *option = driver->options; option && option->name; option++) {
        Sluice__OptionInfo *out = add_to(&info->base, "options", &sluice__option_info__descriptor);
        mail_set(&out->name, option->name);
        mail_set(&out->type, option_type_name(option->type));
        add_choices(out, option->choices);
        if (option->preset)
            mail_set(&out->default_value, option->preset);
        mail_set(&out->help, option->help);
        out->has_required = 1;
        out->required = option->required;
        out->has_live = option->live;
        out->live = option->live;
    }
}

static void list_drivers(struct actor *self, Sluice__Request *request, struct call *call)
{
    Sluice__Reply *reply = MAIL_NEW(sluice__reply);
    mail_free_body(request);
    reply->body_case = SLUICE__REPLY__BODY_DRIVERS;
    reply->drivers = MAIL_NEW(sluice__driver_list);
    for (const struct driver *const *driver = drivers; *driver; driver++)
        describe(reply->drivers, *driver);
    call_end(self, call, reply);
}

static void io_ended(struct actor *self, Sluice__Reply *reply, void *arg)
{
    struct call *call = arg;
    call->dispatcher->ios--;
    call_end(self, call, reply);
}

static void do_io(struct actor *self, Sluice__Request *request, struct call *call)
{
    if (call->dispatcher->ios >= DISPATCH_IOS) {
        mail_free_body(request);
        call_end(self, call,
                 reply_error(SLUICE__ERROR__CLASS__LIMIT, NULL, -ENOBUFS,
                             "%d io requests are under way already; try again when one has ended",
                             DISPATCH_IOS));
        return;
    }
    call->dispatcher->ios++;
    io_run(self, &call->dispatcher->io, request, io_ended, call);
}

typedef void performer(struct actor *self, Sluice__Request *request, struct call *call);

/* By the number of the body's field; what is not here is the graph's. */
static performer *const performers[] = {
    [SLUICE__REQUEST__BODY_SHUTDOWN] = shut_down,
    [SLUICE__REQUEST__BODY_DRIVER_LIST] = list_drivers,
    [SLUICE__REQUEST__BODY_EVENTS_SINCE] = to_events,
    [SLUICE__REQUEST__BODY_IO_READ] = do_io,
    [SLUICE__REQUEST__BODY_IO_WRITE] = do_io,
    [SLUICE__REQUEST__BODY_IO_FLUSH] = do_io,
    [SLUICE__REQUEST__BODY_IO_DISCARD] = do_io,
    [SLUICE__REQUEST__BODY_IO_ZEROES] = do_io,
    [SLUICE__REQUEST__BODY_IO_TRUNCATE] = do_io,
    [SLUICE__REQUEST__BODY_IO_MAKE_ZERO] = do_io,
    [SLUICE__REQUEST__BODY_IO_IOCTL] = do_io,
    [SLUICE__REQUEST__BODY_IO_SAVE_VMSTATE] = do_io,
    [SLUICE__REQUEST__BODY_IO_LOAD_VMSTATE] = do_io,
};

void dispatch_run(struct actor *self, struct dispatcher *dispatcher, Sluice__Request *request,
                  dispatch_done_fn *done, void *arg)
{
    size_t which = request->body_case;
    if (which == SLUICE__REQUEST__BODY__NOT_SET) {
        mail_free_body(request);
        done(self,
             reply_error(
                 SLUICE__ERROR__CLASS__INVALID, NULL, -EINVAL,
                 "the request has no body, so nothing is asked; set one of Request's fields"),
             arg);
        return;
    }
    performer *perform = which < sizeof performers / sizeof *performers && performers[which]
                             ? performers[which]
                             : to_graph;
    perform(self, request, call_new(dispatcher, done, arg));
}
