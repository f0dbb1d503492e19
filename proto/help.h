/* help.h — what a program's --help says of requests: made from descriptors and comments. */
#ifndef SLUICE_HELP_H
#define SLUICE_HELP_H

#include <stdio.h>
#include <protobuf-c/protobuf-c.h>

/* One request (a field of Request's body) with its fields: types, defaults, meaning. */
void help_request(FILE *out, const ProtobufCFieldDescriptor *body);

/* All requests whose name begins with `prefix` ("" for all), one line each. */
void help_requests(FILE *out, const char *prefix);

/* The fields of a message, one paragraph each, indented. */
void help_fields(FILE *out, const ProtobufCMessageDescriptor *type);

/* Text, wrapped at 80 columns, with this indent (the first line's is already there). */
void help_wrap(FILE *out, const char *text, int indent);

#endif
