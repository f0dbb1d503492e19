#include "actors/limits_message.h"

#include <assert.h>
#include <stdio.h>

#include "engine/actor.h"
#include "engine/mem.h"
#include "proto/reflect.h"

/* --- Fields: "iops_total", "iops_total_max", "iops_total_max_length" */

enum part { AVERAGE, MAXIMUM, BURST_LENGTH, PARTS };

static double *part_of(struct limit *limit, enum part part)
{
    return part == AVERAGE   ? &limit->average
           : part == MAXIMUM ? &limit->maximum
                             : &limit->burst_length;
}

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *type,
                                                unsigned number, enum part part)
{
    static const char *const suffixes[PARTS] = {"", "-max", "-max-length"};
    char name[REFLECT_NAME];
    snprintf(name, sizeof name, "%s%s", limit_names[number], suffixes[part]);
    const ProtobufCFieldDescriptor *field = reflect_field(type, name);
    assert(field);
    return field;
}

unsigned limits_take(struct limits *limits, const ProtobufCMessage *request)
{
    unsigned taken = 0;
    for (unsigned number = 0; number < LIMITS; number++)
        for (unsigned part = 0; part < PARTS; part++) {
            const ProtobufCFieldDescriptor *field = field_of(request->descriptor, number, part);
            if (!reflect_count(request, field))
                continue;
            const int64_t *value = reflect_place(request, field, 0);
            *part_of(&limits->limit[number], part) = (double)*value;
            taken++;
        }
    const ProtobufCFieldDescriptor *field = reflect_field(request->descriptor, "iops-size");
    if (reflect_count(request, field)) {
        limits->iops_size = *(const uint64_t *)reflect_place(request, field, 0);
        taken++;
    }
    return taken;
}

void limits_tell(const struct limits *limits, ProtobufCMessage *description)
{
    const ProtobufCMessageDescriptor *type = description->descriptor;
    for (unsigned number = 0; number < LIMITS; number++)
        for (unsigned part = 0; part < PARTS; part++) {
            struct limit limit = limits->limit[number];
            int64_t *value = reflect_set(description, field_of(type, number, part));
            *value = (int64_t)*part_of(&limit, part);
        }
    *(uint64_t *)reflect_set(description, reflect_field(type, "iops-size")) = limits->iops_size;
}

void limits_tell_given(const struct limits *limits, ProtobufCMessage *event)
{
    const ProtobufCMessageDescriptor *type = event->descriptor;
    struct limits none = LIMITS_NONE;
    for (unsigned number = 0; number < LIMITS; number++)
        for (unsigned part = 0; part < PARTS; part++) {
            struct limit limit = limits->limit[number];
            double value = *part_of(&limit, part);
            if (value > *part_of(&none.limit[number], part))
                *(int64_t *)reflect_set(event, field_of(type, number, part)) = (int64_t)value;
        }
    if (limits->iops_size)
        *(uint64_t *)reflect_set(event, reflect_field(type, "iops-size")) = limits->iops_size;
}

/* --- Columns */

static double *column(size_t *n)
{
    *n = LIMITS;
    return mem_new(LIMITS * sizeof(double));
}

Sluice__ThrottleLimits *limits_to_mail(const struct limits *limits)
{
    Sluice__ThrottleLimits *mail = MAIL_NEW(sluice__throttle_limits);
    mail->average = column(&mail->n_average);
    mail->maximum = column(&mail->n_maximum);
    mail->burst_length = column(&mail->n_burst_length);
    for (unsigned number = 0; number < LIMITS; number++) {
        mail->average[number] = limits->limit[number].average;
        mail->maximum[number] = limits->limit[number].maximum;
        mail->burst_length[number] = limits->limit[number].burst_length;
    }
    mail->iops_size = limits->iops_size;
    return mail;
}

void limits_from_mail(const Sluice__ThrottleLimits *mail, struct limits *limits)
{
    *limits = LIMITS_NONE;
    for (unsigned number = 0; number < LIMITS; number++)
        limits->limit[number] = (struct limit){mail->average[number], mail->maximum[number],
                                               mail->burst_length[number]};
    limits->iops_size = mail->iops_size;
}
