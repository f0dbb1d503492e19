/* backend_tray.c — what consoles do to the tray and the medium of a backend's device. */
#include <errno.h>

#include "actors/backend_impl.h"

int backend_check_removable(const struct backend *backend, struct err *err)
{
    if (backend_is_removable(backend))
        return 0;
    return err_set(err, -ENOTSUP,
                   "device '%.100s' of backend '%.63s' is not removable, so its medium stays; "
                   "detach the device first",
                   backend_device_name(backend), actor_name(backend->self));
}

int backend_check_console(const struct backend *backend, struct err *err)
{
    if (backend_device_idle(backend, err) < 0 || backend_check_removable(backend, err) < 0)
        return err->code;
    if (backend->device.attached && backend_has_tray(backend) && !backend->device.tray_open)
        return err_set(err, -EBUSY,
                       "the tray of device '%.100s' of backend '%.63s' is closed; open it first, "
                       "with medium-open-tray",
                       backend_device_name(backend), actor_name(backend->self));
    return 0;
}

void backend_refuse_locked(struct backend *backend)
{
    struct err err = {0};
    err_set(&err, -EINPROGRESS,
            "device '%.100s' of backend '%.63s' has its medium locked in, and was asked for it: in "
            "progress; try again when its tray is open, or use force",
            backend_device_name(backend), actor_name(backend->self));
    actor_refuse(backend->self, backend->device.asker, &err);
}

static void moved(struct backend *backend, const struct err *err)
{
    if (err)
        actor_refuse(backend->self, backend->device.asker, err);
    else
        actor_reply(backend->self, backend->device.asker, MAIL_NONE, NULL);
}

static void open_it(struct backend *backend, const struct err *err)
{
    (void)err; /* only loading fails */
    backend_device_ask(backend, SLUICE__DEVICE_CALL__CALL__EJECT, moved);
}

static void was_asked(struct backend *backend, const struct err *err)
{
    (void)err;
    backend_refuse_locked(backend);
}

static int check(const struct backend *backend, const Sluice__BackendTray *tray, struct err *err)
{
    if (backend_device_idle(backend, err) < 0 || backend_check_removable(backend, err) < 0)
        return err->code;
    if (!tray->open || tray->lenient || backend_has_tray(backend))
        return 0;
    if (!backend->device.attached)
        return err_set(err, -ENOTSUP,
                       "backend '%.63s' has no device, and so no tray that could be opened; "
                       "medium-remove takes the medium out",
                       actor_name(backend->self));
    return err_set(err, -ENOTSUP,
                   "device '%.100s' of backend '%.63s' has no tray that could be opened; "
                   "medium-remove takes the medium out",
                   backend_device_name(backend), actor_name(backend->self));
}

void backend_on_tray(struct actor *self, struct mail *mail)
{
    struct backend *backend = actor_state(self);
    const Sluice__BackendTray *tray = (const Sluice__BackendTray *)mail->body;
    struct err err = {0};
    if (check(backend, tray, &err) < 0) {
        actor_refuse(self, mail_ticket(mail), &err);
        return;
    }
    backend->device.asker = mail_ticket(mail);
    if (!backend_has_tray(backend) || backend->device.tray_open == tray->open)
        moved(backend, NULL);
    else if (!tray->open)
        backend_device_ask(backend, SLUICE__DEVICE_CALL__CALL__LOAD, moved);
    else if (!backend->device.locked)
        open_it(backend, NULL);
    else
        backend_device_ask(backend,
                           tray->force ? SLUICE__DEVICE_CALL__CALL__FORCED_EJECT_REQUEST
                                       : SLUICE__DEVICE_CALL__CALL__EJECT_REQUEST,
                           tray->force ? open_it : was_asked);
}
