/* device_rig.h — for tests of devices and their media over control: a backend `b` and a device `cd`
 * in a whole stepped engine, each seed another order of what happens. */
#ifndef DEVICE_RIG_H
#define DEVICE_RIG_H

#include "perm_rig.h"

#define TRAYED                                                                                     \
    (DEVICE_OFFERS_CHANGE_MEDIA | DEVICE_OFFERS_EJECT_REQUEST | DEVICE_OFFERS_TRAY_OPEN |          \
     DEVICE_OFFERS_MEDIUM_LOCKED)

static inline const Sluice__DeviceInfo *device(void)
{
    return stack_do("device-show cd")->device;
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
