/* kinds.h — kinds of mail on the control lane, and the message that each carries.
 *
 * X(name, body) in an order that is the number on the wire; bodies are of proto/internal.proto and
 * control.proto. */
#ifndef SLUICE_KINDS_H
#define SLUICE_KINDS_H

#include "engine/actor.h"
#include "control.pb-c.h"
#include "event.pb-c.h"
#include "internal.pb-c.h"

#define SLUICE_KINDS_X(X)                                                                          \
    X(REQUEST, request) /* a control request, to the graph; answered with REPLY */                 \
    X(REPLY, reply)                                                                                \
    X(NODE_OPEN, node_open) /* answered with NODE_FACTS */                                         \
    X(NODE_FACTS, node_facts)                                                                      \
    X(NODE_WATCH, node_watch) /* answered with NODE_FACTS */                                       \
    X(NODE_SET, node_set)     /* answered without a body */                                        \
    X(NODE_CHANGED, node_changed)                                                                  \
    X(BACKEND_OPEN, backend_open) /* answered without a body */                                    \
    X(CLAIM, claim)               /* to the graph; answered with CLAIMED */                        \
    X(CLAIMED, claimed)                                                                            \
    X(CLAIM_SET, claim_set)           /* to the graph; answered without a body */                  \
    X(CLAIM_END, claim_end)           /* to the graph; answered without a body */                  \
    X(CLAIM_REFS, claim_refs)         /* to the graph; no answer */                                \
    X(BACKEND_NAME, backend_name)     /* to the graph; answered without a body */                  \
    X(BACKEND_RENAME, backend_rename) /* answered without a body */                                \
    X(CLAIM_MEDIUM, claim_medium)     /* to the graph; answered by REPLY */                        \
    X(CLAIM_INVALIDATE, claim_end)    /* to the graph: see invalidate_cache; answered by REPLY */  \
    X(NODE_INVALIDATE, empty)         /* answered without a body */                                \
    X(SESSION_NOTIFY, session_notify) /* to a backend; answered without a body */                  \
    X(MEDIUM_NEWS, medium_news)       /* from a backend to a session's watcher */                  \
    X(MEDIUM_NOTED, session_calm)     /* the answer to that; no answer */                          \
    X(LOOK_UP, look_up)               /* to the graph; answered with FOUND */                      \
    X(FOUND, found)                                                                                \
    X(CLAIM_ACTIVITY, claim_activity)   /* to the graph; answered with REPLY */                    \
    X(NODE_PERMIT, node_permit)         /* see NodePermit */                                       \
    X(BACKEND_PERMIT, backend_permit)   /* answered without a body */                              \
    X(BLOCKERS, blockers)               /* to the graph; answered without a body */                \
    X(BACKEND_BLOCKED, backend_blocked) /* answered without a body */                              \
    X(BACKEND_CHANGED, backend_changed)                                                            \
    X(SESSION_OPEN, session_open) /* answered with SESSION_GRANT */                                \
    X(SESSION_GRANT, session_grant)                                                                \
    X(SESSION_CLOSE, session_close) /* answered without a body */                                  \
    X(SESSION_QUIET, session_quiet) /* backend to a session's watcher; answered by SESSION_CALM */ \
    X(SESSION_CALM, session_calm)   /* watcher to backend; no answer */                            \
    X(DRAIN, drain)                 /* to the graph; answered by DRAINED */                        \
    X(DRAINED, drained)                                                                            \
    X(REGION_END, region_end)   /* to the graph; answered without a body */                        \
    X(MOVE, move)               /* to a backend or node; see Move */                               \
    X(CLAIM_MOVE, claim_move)   /* to the graph; answered with REPLY */                            \
    X(CLAIM_ALLOW, claim_allow) /* to the graph; answered without a body */                        \
    X(MOVING, moving)                                                                              \
    X(DRAIN_BEGIN, drain_whose) /* answered without a body when nothing is in flight */            \
    X(DRAIN_END, drain_whose)                                                                      \
    X(BACKEND_INSERT, backend_insert) /* answered without a body */                                \
    X(BACKEND_REMOVE, backend_remove) /* answered without a body when the medium is out */         \
    X(BACKEND_SET, backend_set)       /* answered without a body */                                \
    X(BACKEND_TRAY, backend_tray)     /* answered without a body */                                \
    X(BACKEND_CHANGE, backend_change) /* see BackendChange */                                      \
    X(BACKEND_INSERTED, backend_inserted)                                                          \
    X(ATTACH, attach)                   /* to the graph; answered with CLAIMED */                  \
    X(DEVICE_OPEN, device_open)         /* to a device; answered without a body */                 \
    X(DEVICE_SET, device_set)           /* to a device; answered without a body */                 \
    X(DEVICE_ATTACH, device_attach)     /* graph to backend; no answer */                          \
    X(DEVICE_DETACH, device_detach)     /* graph to backend; answered without a body */            \
    X(DEVICE_OPS, device_ops)           /* device to backend; answered without a body */           \
    X(DEVICE_STATE, device_state)       /* device to backend; answered without a body */           \
    X(DEVICE_CALL, device_call)         /* backend to device; answered with DEVICE_STATE */        \
    X(DEVICE_ASK, device_ask)           /* to a backend; answered without a body */                \
    X(DEVICE_DESCRIBE, device_describe) /* to a backend; answered with DEVICE_INFO */              \
    X(DEVICE_INFO, device_info)                                                                    \
    X(NODE_MEDIUM, node_medium) /* to a node; no answer */                                         \
    X(CLAIM_PAUSE, claim_pause) /* to the graph; answered with REPLY */                            \
    X(PAUSE, pause)             /* to a backend; answered without a body, see Pause */             \
    X(CANCEL, cancel)           /* to a backend; no answer */                                      \
    X(LET_THROUGH, let_through) /* graph to backend: no answer; to node: answered */               \
    X(STOP, stop)               /* backend to graph; no answer */                                  \
    X(CLOSE, close)       /* to everyone else; answered without a body when nothing is left */     \
    X(ABORT, abort)       /* to everyone, when the time for closing is up; no answer */            \
    X(DESCRIBE, describe) /* answered with NODE_, BACKEND_ or EXPORT_INFO */                       \
    X(NODE_INFO, node_info)                                                                        \
    X(BACKEND_INFO, backend_info)                                                                  \
    X(EXPORT_INFO, export_info)                                                                    \
    X(REACTOR_INFO, reactor_info)                                                                  \
    X(EXPORT_OPEN, export_open) /* answered with EXPORT_INFO */                                    \
    X(JOB_INFO, job_info)                                                                          \
    X(JOB_OPEN, job_open)               /* answered without a body */                              \
    X(JOB_ENDED, job_ended)             /* job to graph; no answer */                              \
    X(JOB_PAUSE, job_pause)             /* answered without a body */                              \
    X(JOB_CANCEL, job_cancel)           /* answered without a body */                              \
    X(JOB_SET, job_set)                 /* answered without a body */                              \
    X(IO_STATUS_RESET, io_status_reset) /* backend to graph, and graph to jobs; no answer */       \
    X(EMIT, emit)         /* to the graph, which passes it to the events actor; no answer */       \
    X(SNAPSHOT, reply)    /* graph to events: stamp the new status; answered with REPLY */         \
    X(SHUTDOWN, shutdown) /* to the graph; answered without a body when all is gone */             \
    X(CONTROL_OPEN, control_open) /* to the new control actor; answered with ENDPOINT_OPENED */    \
    X(EVENTS_OPEN, events_open)   /* to the new events actor; answered with ENDPOINT_OPENED */     \
    X(ENDPOINT_OPENED, endpoint_opened)                                                            \
    X(CONNECTION_OPEN, connection_open) /* export to its connection; no answer */                  \
    X(CONNECTION_GONE, connection_gone) /* connection to its export; no answer */                  \
    X(BUFFER, buffer)                   /* to a backend or node; answered without a body */        \
    X(CLAIM_THROTTLE, claim_throttle)   /* to the graph; answered with REPLY */                    \
    X(THROTTLE_OPEN, throttle_open)     /* see ThrottleOpen, and so on */                          \
    X(THROTTLE_SET, throttle_set)                                                                  \
    X(THROTTLE_CLOSE, throttle_close)                                                              \
    X(THROTTLE_DESCRIBE, throttle_describe)                                                        \
    X(THROTTLE_DESCRIBED, throttle_described)                                                      \
    X(THROTTLE_JOIN, throttle_join)                                                                \
    X(THROTTLE_ENTER, throttle_enter)                                                              \
    X(THROTTLE_ASK, throttle_ask)                                                                  \
    X(THROTTLE_GRANT, throttle_grant)                                                              \
    X(THROTTLE_LEAVE, throttle_leave)

enum mail_kind {
    MAIL_BEFORE_FIRST_ = MAIL_FIRST - 1,
#define SLUICE_KIND_ENUM_(name, body) MAIL_##name,
    SLUICE_KINDS_X(SLUICE_KIND_ENUM_)
#undef SLUICE_KIND_ENUM_
        MAIL_COUNT,
};
_Static_assert((int)MAIL_COUNT <= (int)MAIL_KINDS, "MAIL_KINDS is too small");

/* What a device understands. */
enum device_offers {
    DEVICE_OFFERS_CHANGE_MEDIA = 1,
    DEVICE_OFFERS_EJECT_REQUEST = 2,
    DEVICE_OFFERS_TRAY_OPEN = 4,
    DEVICE_OFFERS_MEDIUM_LOCKED = 8,
    DEVICE_OFFERS_RESIZED = 16,
    DEVICE_OFFERS_DRAIN = 32, /* begin and end */
};

/* Descriptors by kind, MAIL_COUNT entries, for engine_new(). */
extern const ProtobufCMessageDescriptor *const mail_bodies[];

/* Actors that everyone may write to; set before the reactors start. */
struct world {
    actor_addr graph, events, control;
    bool incoming;    /* the run state to begin in */
    unsigned threads; /* reactors; 0 stands for one */
};
static inline const struct world *world(const struct actor *self)
{
    return actor_world(self);
}

#endif
