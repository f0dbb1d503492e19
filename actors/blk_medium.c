/* blk_medium.c — media of backends as an embedding thread sees them: they come and go, and what is
 * known of them. */
#include <errno.h>
#include <stdlib.h>

#include "actors/backend.h"
#include "actors/context.h"
#include "engine/mem.h"

/* --- Coming and going */

static int ask_graph(blk *blk, unsigned kind, void *body, char **error)
{
    struct err err = {0};
    int ret = context_call(blk->context, blk->context->sluice->world.graph, kind, body, NULL, &err);
    return context_error(error, ret, err.text);
}

static int change_medium(blk *blk, const char *node, char **error)
{
    Sluice__ClaimMedium *mail = MAIL_NEW(sluice__claim_medium);
    mail->claim = blk->claim;
    if (node)
        mail_set(&mail->node, node);
    return ask_graph(blk, MAIL_CLAIM_MEDIUM, mail, error);
}

int blk_insert_bs(blk *blk, const char *node, char **error)
{
    return change_medium(blk, node, error);
}

int blk_remove_bs(blk *blk, char **error)
{
    return change_medium(blk, NULL, error);
}

int blk_remove_all_bs(blk_context *context, char **error)
{
    return sluice_request(context, "medium-remove-all", NULL, error);
}

int blk_invalidate_cache(blk *blk, char **error)
{
    Sluice__ClaimEnd *mail = MAIL_NEW(sluice__claim_end);
    mail->claim = blk->claim;
    return ask_graph(blk, MAIL_CLAIM_INVALIDATE, mail, error);
}

/* --- Notifiers */

struct notifier {
    struct notifier *next;
    blk_notify_fn *notify;
    void *opaque;
    bool inserted; /* of media that come; else of those that go */
    bool due;
};

static struct notifier *take_due(struct notifier *notifier)
{
    while (notifier && !notifier->due)
        notifier = notifier->next;
    if (notifier)
        notifier->due = false;
    return notifier;
}

/* They may add and remove notifiers, and close the blk. */
void blk_medium_news(struct blk *blk, const Sluice__MediumNews *news)
{
    struct notifier *notifier;
    for (notifier = blk->notifiers; notifier; notifier = notifier->next)
        notifier->due = notifier->inserted == news->inserted;
    blk->holds++;
    while (!blk->closed && (notifier = take_due(blk->notifiers)))
        notifier->notify(notifier->opaque);
    blk->holds--;
    if (!blk->closed) {
        Sluice__SessionCalm *noted = MAIL_NEW(sluice__session_calm);
        noted->session = blk->session;
        port_tell(blk->context->port, blk->backend, MAIL_MEDIUM_NOTED, noted);
    }
    blk_free_closed(blk);
}

static int tell_backend(blk *blk)
{
    Sluice__SessionNotify *mail = MAIL_NEW(sluice__session_notify);
    mail->session = blk->session;
    mail->notify = blk->notifiers != NULL;
    return context_call(blk->context, blk->backend, MAIL_SESSION_NOTIFY, mail, NULL, NULL);
}

static int add(blk *blk, blk_notify_fn *notify, void *opaque, bool inserted)
{
    struct notifier **at = &blk->notifiers, *notifier = MEM_NEW(struct notifier);
    bool first = !blk->notifiers;
    *notifier = (struct notifier){.notify = notify, .opaque = opaque, .inserted = inserted};
    while (*at)
        at = &(*at)->next;
    *at = notifier;
    return first ? tell_backend(blk) : 0;
}

int blk_add_insert_bs_notifier(blk *blk, blk_notify_fn *notify, void *opaque)
{
    return add(blk, notify, opaque, true);
}

int blk_add_remove_bs_notifier(blk *blk, blk_notify_fn *notify, void *opaque)
{
    return add(blk, notify, opaque, false);
}

void blk_drop_bs_notifiers(blk *blk, blk_notify_fn *notify, void *opaque)
{
    struct notifier **at = &blk->notifiers, *notifier;
    bool any = *at;
    while ((notifier = *at))
        if (notifier->notify == notify && notifier->opaque == opaque) {
            *at = notifier->next;
            free(notifier);
        } else {
            at = &notifier->next;
        }
    if (any && !blk->notifiers)
        tell_backend(blk);
}

void blk_notifiers_free(struct blk *blk)
{
    struct notifier *notifier;
    while ((notifier = blk->notifiers)) {
        blk->notifiers = notifier->next;
        free(notifier);
    }
}

/* --- The root state */

int blk_get_flags(const blk *blk)
{
    return (blk->open_flags & OPEN_READ_WRITE ? BLK_WRITABLE : 0) |
           (blk->open_flags & OPEN_DIRECT ? BLK_DIRECT : 0) |
           (blk->open_flags & OPEN_UNMAP ? BLK_UNMAP : 0);
}

int blk_get_open_flags_from_root_state(const blk *blk)
{
    int others = blk_get_flags(blk) & ~BLK_WRITABLE;
    return blk->facts.read_only ? others : others | BLK_WRITABLE;
}

/* --- Writes of zeroes */

int blk_set_detect_zeroes(blk *blk, enum blk_detect_zeroes detect)
{
    static const Sluice__DetectZeroes__Mode modes[] = {
        [BLK_DETECT_ZEROES_OFF] = SLUICE__DETECT_ZEROES__MODE__OFF,
        [BLK_DETECT_ZEROES_ON] = SLUICE__DETECT_ZEROES__MODE__ON,
        [BLK_DETECT_ZEROES_UNMAP] = SLUICE__DETECT_ZEROES__MODE__UNMAP,
    };
    if ((unsigned)detect >= sizeof modes / sizeof *modes)
        return -EINVAL;
    Sluice__BackendSet *set = MAIL_NEW(sluice__backend_set);
    mail_set(&set->name, blk->name);
    set->has_detect_zeroes = true;
    set->detect_zeroes = modes[detect];
    return context_call(blk->context, blk->backend, MAIL_BACKEND_SET, set, NULL, NULL);
}
