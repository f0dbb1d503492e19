#include "proto/base64.h"

#include <stdlib.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const uint8_t *data, size_t size)
{
    char *text = malloc((size + 2) / 3 * 4 + 1), *out = text;
    if (!text)
        abort();
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                        (left > 2 ? data[i + 2] : 0);
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = left > 1 ? alphabet[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? alphabet[bits & 63] : '=';
    }
    *out = '\0';
    return text;
}

uint8_t *base64_decode(const char *text, size_t length, size_t *size)
{
    if (length % 4)
        return NULL;
    uint8_t *data = malloc(length / 4 * 3 + 1), *out = data;
    if (!data)
        abort();
    size_t padding = 0;
    while (padding < 2 && length > padding && text[length - 1 - padding] == '=')
        padding++;
    uint32_t bits = 0;
    for (size_t i = 0; i < length; i++) {
        const char *place = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!place && i < length - padding) {
            free(data);
            return NULL;
        }
        bits = bits << 6 | (place ? (uint32_t)(place - alphabet) : 0);
        if (i % 4 == 3) {
            *out++ = (uint8_t)(bits >> 16);
            *out++ = (uint8_t)(bits >> 8);
            *out++ = (uint8_t)bits;
        }
    }
    *size = (size_t)(out - data) - padding;
    return data;
}
