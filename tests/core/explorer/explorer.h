/* explorer.h - every execution of a configuration, once. */
#ifndef EXPLORER_H
#define EXPLORER_H

#include "explored.h"

struct exploration {
    uint64_t executions; /* that ran to their end */
    uint64_t pruned;     /* that were found to repeat another before they ended */
    uint64_t steps;
    uint64_t distinct;   /* by fingerprint; counted only when asked for */
    const char *failure; /* NULL: all of them held */
    bool finished;       /* false: stopped at the limit */
};

/* `naively`: every interleaving, to hold the clever way to. `limit`: of executions; 0 is none. */
struct exploration explore(const struct configuration *configuration, bool naively, bool count_distinct,
                           uint64_t limit);

#endif
