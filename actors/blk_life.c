/* blk_life.c — how an embedding thread gets backends: opened, made, looked up, named. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/context.h"
#include "engine/mem.h"
#include "proto/words.h"

#define OPEN_FLAGS (BLK_WRITABLE | BLK_RESIZE | BLK_NO_IO)

/* --- Opening */

/* As flags ask. */
static struct driver_perms flag_perms(int flags)
{
    struct driver_perms perms = {0, PERM_ALL};
    if (!(flags & BLK_NO_IO))
        perms.perm = PERM_CONSISTENT_READ | (flags & BLK_WRITABLE ? PERM_WRITE : 0);
    if (flags & BLK_RESIZE)
        perms.perm |= PERM_RESIZE;
    return perms;
}

static int check_flags(const char *call, int flags, blk **out, char **error)
{
    char text[120];
    *out = NULL;
    if (!(flags & ~OPEN_FLAGS))
        return 0;
    snprintf(text, sizeof text, "%s takes the flags BLK_WRITABLE, BLK_RESIZE and BLK_NO_IO, or 0",
             call);
    return context_error(error, -EINVAL, text);
}

static Sluice__Claim *new_claim(const char *name, struct driver_perms perms)
{
    Sluice__Claim *claim = MAIL_NEW(sluice__claim);
    mail_set(&claim->backend, name);
    claim->permissions = blk_permissions(perms);
    return claim;
}

int blk_open(blk_context *context, const char *name, int flags, blk **out, char **error)
{
    int ret = check_flags("blk_open", flags, out, error);
    return ret < 0 ? ret : blk_claim(context, new_claim(name, flag_perms(flags)), out, error);
}

int blk_open_id(blk_context *context, uint64_t id, int flags, blk **out, char **error)
{
    int ret = check_flags("blk_open_id", flags, out, error);
    if (ret < 0)
        return ret;
    Sluice__Claim *claim = new_claim("", flag_perms(flags));
    claim->has_id = true;
    claim->id = id;
    return blk_claim(context, claim, out, error);
}

/* --- Making */

static Sluice__BackendAdd *unnamed(void)
{
    Sluice__BackendAdd *add = MAIL_NEW(sluice__backend_add);
    mail_set(&add->name, "");
    return add;
}

int blk_new(blk_context *context, unsigned perm, unsigned shared, blk **out, char **error)
{
    *out = NULL;
    if ((perm | shared) & ~PERM_ALL)
        return context_error(error, -EINVAL,
                             "blk_new was given a bit that is no permission; see enum blk_perm");
    Sluice__Claim *claim = new_claim("", (struct driver_perms){perm, shared});
    claim->make = unnamed();
    return blk_claim(context, claim, out, error);
}

static void add_option(Sluice__BackendAdd *add, const char *key, const char *value)
{
    Sluice__Option *option = MAIL_NEW(sluice__option);
    mail_set(&option->key, key);
    mail_set(&option->value, value);
    add->options = mem_resize(add->options, (add->n_options + 1) * sizeof *add->options);
    add->options[add->n_options++] = option;
}

/* The options as what control takes for a backend that has no name yet. */
static Sluice__BackendAdd *parse_options(const char *options, char **error)
{
    struct refusal refusal = {0};
    char *line = NULL;
    if (asprintf(&line, "backend-add name=x %s", options ? options : "") < 0)
        abort();
    Sluice__Request *request = words_request_line(line, &refusal);
    free(line);
    if (!request) {
        context_error(error, -EINVAL, refusal.text);
        return NULL;
    }
    Sluice__BackendAdd *add = mail_copy(request->backend_add);
    mail_free_body(request);
    free(add->name);
    mail_set(&add->name, "");
    return add;
}

/* What the name and the flags say, too. */
static void complete(Sluice__BackendAdd *add, const char *filename, int flags)
{
    if (filename && !add->driver)
        mail_set(&add->driver, "file");
    if (filename)
        add_option(add, "filename", filename);
    if (!(flags & (BLK_WRITABLE | BLK_RESIZE)))
        add->has_read_only = add->read_only = true;
}

int blk_new_open(blk_context *context, const char *filename, const char *node, const char *options,
                 int flags, blk **out, char **error)
{
    int ret = check_flags("blk_new_open", flags, out, error);
    if (ret < 0)
        return ret;
    Sluice__BackendAdd *add = parse_options(options, error);
    if (!add)
        return -EINVAL;
    complete(add, filename, flags);
    if (node && add->node) {
        mail_free_body(add);
        return context_error(error, -EINVAL,
                             "blk_new_open was given a node, and another one in its options");
    }
    if (node)
        mail_set(&add->node, node);
    if (!add->driver && !add->node) {
        mail_free_body(add);
        return context_error(error, -EINVAL,
                             "blk_new_open was given nothing to open: name a file, a node, or a "
                             "driver; blk_new makes an empty backend");
    }
    Sluice__Claim *claim = new_claim("", flag_perms(flags));
    claim->make = add;
    return blk_claim(context, claim, out, error);
}

/* --- References */

unsigned blk_get_refcnt(const blk *blk)
{
    struct blk_info info;
    if (!blk || blk_by_id(blk->context, blk->id, &info) <= 0)
        return 0;
    return info.references;
}

uint64_t blk_id(const blk *blk)
{
    return blk->id;
}

/* --- Names */

static void take_name(const void *reply, void *arg)
{
    blk_renamed(arg, ((const Sluice__BackendInfo *)reply)->name);
}

/* Others may have renamed it since: the backend knows, and tells it in order with what it told. */
static int set_name(blk *blk, const char *name, char **error)
{
    struct err err = {0};
    Sluice__BackendName *mail = MAIL_NEW(sluice__backend_name);
    mail->claim = blk->claim;
    if (name)
        mail_set(&mail->name, name);
    if (context_call(blk->context, blk->context->sluice->world.graph, MAIL_BACKEND_NAME, mail, NULL,
                     &err) < 0)
        return context_error(error, err.code, err.text);
    context_call_take(blk->context, blk->backend, MAIL_DESCRIBE, NULL, take_name, blk, NULL);
    return context_error(error, 0, NULL);
}

int blk_add_name(blk *blk, const char *name, char **error)
{
    return set_name(blk, name, error);
}

int blk_remove_name(blk *blk)
{
    return set_name(blk, NULL, NULL);
}

int blk_description(const blk *blk, char *out, size_t size)
{
    struct blk_info info;
    int ret = blk_by_id(blk->context, blk->id, &info);
    if (ret <= 0)
        return ret < 0 ? ret : -ENOENT;
    snprintf(out, size, "%s", info.description);
    return 0;
}

/* --- Walks and look-ups */

/* Returns 1 with what was found, 0 when there is none, or a negative errno. */
static int look_up(blk_context *context, Sluice__LookUp__By by, const char *name,
                   struct blk_cursor *cursor, Sluice__Found **out)
{
    void *reply = NULL;
    Sluice__LookUp *look = MAIL_NEW(sluice__look_up);
    look->by = by;
    mail_set(&look->name, name);
    look->has_after = look->has_phase = look->has_walk = true;
    look->after = cursor->at[0];
    look->phase = cursor->at[1];
    look->walk = cursor->at[2];
    int ret = context_call(context, context->sluice->world.graph, MAIL_LOOK_UP, look, &reply, NULL);
    if (ret < 0)
        return ret;
    *out = reply;
    if ((*out)->id) {
        *cursor = (struct blk_cursor){{(*out)->id, (*out)->phase, (*out)->walk}};
        return 1;
    }
    mail_free_body(reply);
    return 0;
}

#define COPY(to, from) snprintf(to, sizeof(to), "%s", from)

static int find(blk_context *context, Sluice__LookUp__By by, const char *name,
                struct blk_cursor *cursor, struct blk_info *out)
{
    Sluice__Found *found;
    struct blk_cursor none = {{0}};
    int ret = look_up(context, by, name, cursor ? cursor : &none, &found);
    if (ret <= 0)
        return ret;
    *out = (struct blk_info){.id = found->id, .references = found->references};
    COPY(out->name, found->name);
    COPY(out->description, found->description);
    COPY(out->node, found->node);
    COPY(out->device, found->device);
    mail_free_body(found);
    return 1;
}

static int find_node(blk_context *context, Sluice__LookUp__By by, const char *name,
                     struct blk_cursor *cursor, struct blk_node_info *out)
{
    Sluice__Found *found;
    struct blk_cursor none = {{0}};
    int ret = look_up(context, by, name, cursor ? cursor : &none, &found);
    if (ret <= 0)
        return ret;
    *out = (struct blk_node_info){.has_backend = found->has_backend, .is_root = found->is_root};
    COPY(out->name, found->name);
    mail_free_body(found);
    return 1;
}

int blk_next(blk_context *context, struct blk_cursor *cursor, struct blk_info *out)
{
    return find(context, SLUICE__LOOK_UP__BY__NEXT, "", cursor, out);
}

int blk_next_named(blk_context *context, struct blk_cursor *cursor, struct blk_info *out)
{
    return find(context, SLUICE__LOOK_UP__BY__NEXT_NAMED, "", cursor, out);
}

int blk_next_root(blk_context *context, struct blk_cursor *cursor, struct blk_node_info *out)
{
    return find_node(context, SLUICE__LOOK_UP__BY__NEXT_ROOT, "", cursor, out);
}

int blk_by_name(blk_context *context, const char *name, struct blk_info *out)
{
    return find(context, SLUICE__LOOK_UP__BY__NAME, name, NULL, out);
}

int blk_by_dev(blk_context *context, const char *device, struct blk_info *out)
{
    return find(context, SLUICE__LOOK_UP__BY__DEVICE, device, NULL, out);
}

int blk_by_node(blk_context *context, const char *node, struct blk_info *out)
{
    return find(context, SLUICE__LOOK_UP__BY__NODE, node, NULL, out);
}

int blk_by_id(blk_context *context, uint64_t id, struct blk_info *out)
{
    struct blk_cursor cursor = {{id}};
    return find(context, SLUICE__LOOK_UP__BY__ID, "", &cursor, out);
}

int blk_node(blk_context *context, const char *node, struct blk_node_info *out)
{
    return find_node(context, SLUICE__LOOK_UP__BY__NODE_NAME, node, NULL, out);
}
