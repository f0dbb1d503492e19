/* mem.h — heap memory for the runtime's own small things.
 *
 * A process that can't get a few hundred bytes can't answer anyone either: these never return null,
 * they end the process with a sentence. Memory for data (buffer.h) is asked for where its lack can
 * be reported. */
#ifndef SLUICE_MEM_H
#define SLUICE_MEM_H

#include <stddef.h>

void *mem_new(size_t bytes); /* zeroed */
void *mem_resize(void *memory, size_t bytes);
void *mem_aligned(size_t alignment, size_t bytes); /* zeroed; free() it */
char *mem_string(const char *text);

#define MEM_NEW(type) ((type *)mem_new(sizeof(type)))

#endif
