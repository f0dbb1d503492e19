/* config.h — configuration files: a list of requests, as YAML or JSON.
 *
 *     - node-add:    {driver: file, name: disk, filename: /srv/disk.img}
 *     - backend-add: {name: vd0, node: disk}
 *
 * The list may also stand below the key `requests`. Every value is a text here, as on a command
 * line: what it means is the field's business, so `name: 007` and `name: on` name what they say.
 * Anchors, aliases, tags and further documents are refused, and so is a key given twice. */
#ifndef SLUICE_CONFIG_H
#define SLUICE_CONFIG_H

#include <stddef.h>

#include "control.pb-c.h"
#include "proto/refusal.h"

#define CONFIG_SIZE   (1024 * 1024) /* bytes of one file */
#define CONFIG_DEPTH  16            /* lists and maps within each other */
#define CONFIG_VALUES 100000        /* values in one file */

struct config {
    struct config_item {
        Sluice__Request *request;
        unsigned line; /* where it starts, from 1 */
    } * items;
    size_t n;
};

/* Reads `size` bytes of text. Returns 0, or -EINVAL and a sentence that begins with "line N: ". */
int config_parse(const char *text, size_t size, struct config *config, struct refusal *refusal);

void config_free(struct config *config);

#endif
