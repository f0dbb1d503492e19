#include "actors/kinds.h"

const ProtobufCMessageDescriptor *const mail_bodies[] = {[MAIL_NONE] = NULL,
                                                         [MAIL_FAULT] = &sluice__fault__descriptor,
#define SLUICE_KIND_BODY_(name, body) [MAIL_##name] = &sluice__##body##__descriptor,
                                                         SLUICE_KINDS_X(SLUICE_KIND_BODY_)
#undef SLUICE_KIND_BODY_
};
