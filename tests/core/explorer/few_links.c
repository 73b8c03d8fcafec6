/* few_links.c - queue/links.c for a ring of few entries: it looks at all of them to see who is in which link. */
#include "queue/queue.h"

#undef SR_ATTACHMENTS
#define SR_ATTACHMENTS 4u

#include "queue/links.c"
