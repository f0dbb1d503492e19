/* base64.h — bytes as text (RFC 4648, with padding). */
#ifndef SLUICE_BASE64_H
#define SLUICE_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Text on the heap. */
char *base64_encode(const uint8_t *data, size_t size);

/* Bytes on the heap and their count, or null when the text is not base64. */
uint8_t *base64_decode(const char *text, size_t length, size_t *size);

#endif
