#include "actors/reactor_info.h"

#include "actors/kinds.h"
#include "engine/reactor.h"

static void on_describe(struct actor *self, struct mail *mail)
{
    struct reactor *reactor = actor_reactor(self);
    const struct reactor_stats *stats = reactor_stats(reactor);
    struct buffers_stats memory;
    buffers_stats(reactor_buffers(reactor), &memory);
    Sluice__ReactorInfo *info = MAIL_NEW(sluice__reactor_info);
    info->id = reactor_id(reactor);
    info->has_cpu = info->has_actors = info->has_turns = info->has_parks = true;
    info->has_frames = info->has_requests = true;
    info->has_buffer_bytes = info->has_buffer_resident_bytes = true;
    info->cpu = (uint32_t)stats->cpu;
    info->actors = stats->actors - 1; /* but for this one */
    info->turns = stats->turns;
    info->parks = stats->parks;
    info->frames = stats->frames;
    info->requests = stats->requests;
    info->has_submissions = true;
    info->submissions = ring_submissions(reactor_ring(reactor));
    info->buffer_bytes = memory.held;
    info->buffer_resident_bytes = memory.resident;
    actor_reply(self, mail_ticket(mail), MAIL_REACTOR_INFO, info);
}

static void on_close(struct actor *self, struct mail *mail)
{
    (void)mail;
    actor_stop(self);
}

const struct actor_type reactor_info_type = {
    .name = "reactor",
    .handlers = {[MAIL_DESCRIBE] = on_describe, [MAIL_CLOSE] = on_close},
};
