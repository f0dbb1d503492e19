/* device_rig.h — for tests of devices and their media over control: a backend `b` and a device `cd`
 * in a whole stepped engine, each seed another order of what happens. */
#ifndef DEVICE_RIG_H
#define DEVICE_RIG_H

#include "stack_rig.h"

#include <stdio.h>

#define MIB (INT64_C(1) << 20)

#define TRAYED                                                                                     \
    (DEVICE_OFFERS_CHANGE_MEDIA | DEVICE_OFFERS_EJECT_REQUEST | DEVICE_OFFERS_TRAY_OPEN |          \
     DEVICE_OFFERS_MEDIUM_LOCKED)

static inline const Sluice__BackendInfo *shown(void)
{
    return stack_do("backend-show b")->backend;
}

static inline const Sluice__DeviceInfo *device(void)
{
    return stack_do("device-show cd")->device;
}

static inline uint64_t sequence(void)
{
    return stack_do("status")->status->sequence;
}

static inline const char *joined(char *const *words, size_t n)
{
    static char text[200];
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? "," : "", words[i]);
    return text;
}

static inline void assert_perms(const char *permissions, const char *shares)
{
    const Sluice__BackendInfo *info = shown();
    assert_string_equal(joined(info->permissions, info->n_permissions), permissions);
    assert_string_equal(joined(info->shares, info->n_shares), shares);
}

#define ALL "consistent-read,write,write-unchanged,resize,graph-mod"

/* The last thing that a mock was sent. */
static inline const char *last_sent(const char *node)
{
    const Sluice__NodeInfo *info = stack_do("node-show %s", node)->node;
    return info->n_state ? info->state[info->n_state - 1]->value : "";
}

/* A drive `cd` with a tray at backend `b`, on node `one`; and node `two`. */
static inline void start_drive(uint64_t seed)
{
    stack_do("node-add driver=mock name=one size=1M");
    stack_do("node-add driver=mock name=two size=2M reactor=%u",
             (unsigned)(seed / 3) % STACK_THREADS(seed));
    stack_do("backend-add name=b node=one");
    stack_do("device-add b id=cd removable=on tray=on");
}

#endif
