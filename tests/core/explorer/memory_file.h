/* memory_file.h - the file of a queue, as os_memory.h describes it: bytes that have storage, page by page, or have none. */
#ifndef EXPLORER_MEMORY_FILE_H
#define EXPLORER_MEMORY_FILE_H

#include "format/layout.h"

enum { FILE_PAGES = 1024 };
extern unsigned char memory_file[FILE_PAGES * SR_PAGE];

/* An empty file, for which there are so many pages of storage. */
void memory_file_reset(unsigned pages);
void memory_file_limit(unsigned pages); /* from now on, beside those that are taken */
unsigned memory_file_stored(void);      /* pages */
/* All of it has storage, and lies in the file. */
bool memory_file_has(const void *begin, size_t length);

#endif
