/* blk_throttle.c — an embedding thread has a backend's requests limited, together with those of
 * others. */
#include "actors/context.h"
#include "actors/limits_message.h"

static int ask(blk *blk, Sluice__ClaimThrottle__What what, const char *group,
               const struct limits *limits, void **reply, char **error)
{
    struct err err = {0};
    Sluice__ClaimThrottle *mail = MAIL_NEW(sluice__claim_throttle);
    mail->claim = blk->claim;
    mail->what = what;
    if (group)
        mail_set(&mail->group, group);
    if (limits)
        mail->limits = limits_to_mail(limits);
    int ret = context_call(blk->context, blk->context->sluice->world.graph, MAIL_CLAIM_THROTTLE,
                           mail, reply, &err);
    return context_error(error, ret, err.text);
}

int blk_io_limits_enable(blk *blk, const char *group, char **error)
{
    return ask(blk, SLUICE__CLAIM_THROTTLE__WHAT__ENABLE, group, NULL, NULL, error);
}

int blk_io_limits_update_group(blk *blk, const char *group, char **error)
{
    return ask(blk, SLUICE__CLAIM_THROTTLE__WHAT__UPDATE, group, NULL, NULL, error);
}

int blk_io_limits_disable(blk *blk)
{
    return ask(blk, SLUICE__CLAIM_THROTTLE__WHAT__DISABLE, NULL, NULL, NULL, NULL);
}

static struct limit limit_of(const struct blk_io_limit *given)
{
    return (struct limit){(double)given->avg, (double)given->max,
                          given->burst_length ? (double)given->burst_length : 1};
}

int blk_set_io_limits(blk *blk, const struct blk_io_limits *given, char **error)
{
    const struct limits limits = {
        .limit = {[LIMIT_IOPS_TOTAL] = limit_of(&given->iops_total),
                  [LIMIT_IOPS_READ] = limit_of(&given->iops_read),
                  [LIMIT_IOPS_WRITE] = limit_of(&given->iops_write),
                  [LIMIT_BPS_TOTAL] = limit_of(&given->bps_total),
                  [LIMIT_BPS_READ] = limit_of(&given->bps_read),
                  [LIMIT_BPS_WRITE] = limit_of(&given->bps_write)},
        .iops_size = given->iops_size,
    };
    return ask(blk, SLUICE__CLAIM_THROTTLE__WHAT__SET, NULL, &limits, NULL, error);
}

static struct blk_io_limit told(const struct limit *limit)
{
    return (struct blk_io_limit){(uint64_t)limit->average, (uint64_t)limit->maximum,
                                 (uint64_t)limit->burst_length};
}

int blk_get_io_limits(blk *blk, struct blk_io_limits *out, char **error)
{
    struct limits limits = LIMITS_NONE;
    void *reply = NULL;
    int ret = ask(blk, SLUICE__CLAIM_THROTTLE__WHAT__GET, NULL, NULL, &reply, error);
    if (ret < 0)
        return ret;
    limits_take(&limits, &((const Sluice__Reply *)reply)->throttle->base);
    mail_free_body(reply);
    *out = (struct blk_io_limits){
        .iops_total = told(&limits.limit[LIMIT_IOPS_TOTAL]),
        .iops_read = told(&limits.limit[LIMIT_IOPS_READ]),
        .iops_write = told(&limits.limit[LIMIT_IOPS_WRITE]),
        .bps_total = told(&limits.limit[LIMIT_BPS_TOTAL]),
        .bps_read = told(&limits.limit[LIMIT_BPS_READ]),
        .bps_write = told(&limits.limit[LIMIT_BPS_WRITE]),
        .iops_size = limits.iops_size,
    };
    return 0;
}
