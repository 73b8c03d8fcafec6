/* few_attachments.c - attach.c for a ring of few entries: it looks at all of them all the time. */
#include "attach.h"

#undef SR_ATTACHMENTS
#define SR_ATTACHMENTS 4u
#undef SR_SENT
#define SR_SENT 2u

#include "attach.c"
