#include "node_rig.h"

struct node_rig rig;

static void on_changed(const struct mail *mail)
{
    assert_int_equal(mail->kind, MAIL_NODE_CHANGED);
    rig.told++;
    node_facts_from_message(((const Sluice__NodeChanged *)mail->body)->facts, &rig.change);
}

int rig_setup(void **state)
{
    (void)state;
    rig = (struct node_rig){0};
    rig_up();
    rig_on_mail(on_changed);
    return 0;
}

int rig_teardown(void **state)
{
    (void)state;
    rig_down();
    return 0;
}

Sluice__NodeOpen *rig_spec(const char *name, const char *driver, actor_addr child,
                           const char *options)
{
    Sluice__NodeOpen *open = MAIL_NEW(sluice__node_open);
    Sluice__NodeAdd *spec = open->spec = MAIL_NEW(sluice__node_add);
    mail_set(&spec->name, name);
    mail_set(&spec->driver, driver);
    spec->options = calloc(16, sizeof(*spec->options));
    char *copy = strdup(options), *rest = copy, *pair;
    while ((pair = strsep(&rest, " "))) {
        char *value = strchr(pair, '=');
        if (!value)
            continue;
        *value++ = '\0';
        Sluice__Option *option = spec->options[spec->n_options++] = MAIL_NEW(sluice__option);
        mail_set(&option->key, pair);
        mail_set(&option->value, value);
    }
    free(copy);
    open->has_child = child != 0;
    open->child = child;
    return open;
}

void rig_fill(actor_addr node, int64_t offset, uint64_t bytes, char value, unsigned flags)
{
    char *data = malloc(bytes);
    memset(data, value, bytes);
    assert_int_equal(rig_io(node, OP_WRITE, offset, data, bytes, flags), 0);
    free(data);
}

bool rig_reads_as(actor_addr node, int64_t offset, uint64_t bytes, char value)
{
    char *data = malloc(bytes);
    memset(data, ~value, bytes);
    assert_int_equal(rig_io(node, OP_READ, offset, data, bytes, 0), 0);
    bool same = rig_all(data, bytes, (unsigned char)value);
    free(data);
    return same;
}

void rig_close(actor_addr node)
{
    struct rig_answer answer = rig_ask(node, MAIL_CLOSE, MAIL_NEW(sluice__close));
    assert_int_equal(answer.err.code, 0);
    assert_int_equal(answer.kind, MAIL_NONE);
    rig_run();
}

actor_addr rig_try(const char *name, const char *driver, actor_addr child, const char *options)
{
    return rig_try_over(name, driver, child, 0, options);
}

actor_addr rig_try_over(const char *name, const char *driver, actor_addr child, actor_addr backing,
                        const char *options)
{
    actor_addr node = rig_spawn(&node_type, name);
    Sluice__NodeOpen *open = rig_spec(name, driver, child, options);
    open->has_backing = backing != 0;
    open->backing = backing;
    struct rig_answer answer = {0};
    rig_post(&answer, node, MAIL_NODE_OPEN, open);
    rig_run();
    for (unsigned i = 0; !answer.came && i < 100; i++)
        rig_advance(10 * NS_PER_MS); /* an opening may take its time */
    rig_until(&answer.came);
    rig.err = answer.err;
    if (answer.kind == MAIL_FAULT) {
        rig_close(node);
        return 0;
    }
    assert_int_equal(answer.kind, MAIL_NODE_FACTS);
    node_facts_from_message(answer.body, &rig.facts);
    return node;
}

actor_addr rig_open(const char *name, const char *driver, actor_addr child, const char *options)
{
    return rig_open_over(name, driver, child, 0, options);
}

actor_addr rig_open_over(const char *name, const char *driver, actor_addr child, actor_addr backing,
                         const char *options)
{
    actor_addr node = rig_try_over(name, driver, child, backing, options);
    if (!node)
        fail_msg("%s", rig.err.text);
    rig_run();
    return node;
}

void rig_watch(actor_addr node, bool on)
{
    Sluice__NodeWatch *watch = MAIL_NEW(sluice__node_watch);
    watch->parent = rig_address();
    watch->watch = on;
    assert_int_equal(rig_ask(node, MAIL_NODE_WATCH, watch).kind, MAIL_NODE_FACTS);
}

const Sluice__NodeInfo *rig_describe(actor_addr node)
{
    struct rig_answer answer = rig_ask(node, MAIL_DESCRIBE, MAIL_NEW(sluice__describe));
    assert_int_equal(answer.kind, MAIL_NODE_INFO);
    return answer.body;
}

int rig_set(actor_addr node, const char *key, const char *value)
{
    Sluice__NodeSet *set = MAIL_NEW(sluice__node_set);
    mail_set(&set->name, "node");
    set->options = calloc(1, sizeof *set->options);
    set->n_options = 1;
    set->options[0] = MAIL_NEW(sluice__option);
    mail_set(&set->options[0]->key, key);
    mail_set(&set->options[0]->value, value);
    struct rig_answer answer = rig_ask(node, MAIL_NODE_SET, set);
    rig_run();
    return answer.err.code;
}

const char *rig_sent(actor_addr mock)
{
    static char list[8000];
    size_t used = 0;
    const Sluice__NodeInfo *info = rig_describe(mock);
    list[0] = '\0';
    for (size_t i = 0; i < info->n_state; i++)
        if (!strncmp(info->state[i]->key, "sent-", 5))
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "",
                                     info->state[i]->value);
    return list;
}
