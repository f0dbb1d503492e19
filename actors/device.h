/* device.h — the built-in device: what stands for a drive's guest, and is played over control.
 *
 * Mail: DEVICE_OPEN first of all; DEVICE_SET, which does what a guest would; DEVICE_CALL from its
 * backend, obeyed at once; CLOSE; ABORT. */
#ifndef SLUICE_DEVICE_H
#define SLUICE_DEVICE_H

#include "engine/actor.h"

extern const struct actor_type device_type;

#endif
