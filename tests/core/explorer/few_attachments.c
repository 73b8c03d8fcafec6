/* few_attachments.c - attach.c for a ring of few entries: it looks at all of them all the time. */
#include "attach.h"

enum { REALLY = SR_ATTACHMENTS };

#undef SR_ATTACHMENTS
#define SR_ATTACHMENTS 4u
#undef SR_SENT
#define SR_SENT 2u
#define sr_format format_for_few

#include "attach.c"

#undef sr_format
void sr_format(void *base, const struct sr_geometry *plan, const struct sr_birth *birth) {
    format_for_few(base, plan, birth);
    ((struct sr_header *)base)->attachment_count = REALLY; /* which the layout has room for */
}
