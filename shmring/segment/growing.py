"""Memory that grows at its end, range by range, while others have what was there before mapped: for queues.

Growing and shrinking is the core's (core/os/memory.h); here is how it begins, and what bounds it.

``unnamed(size)``                     new memory of that kind without a name, which can be pickled
``reserve(memory, offset, length)``   real storage for a range: NoSpace
``map_range(memory, offset, length)`` a mapping of a range, closed on its own
``file(memory)``                      what the core is to grow
``check_free(memory, needed)``        NoSpace for more than the machine, or a container, has
``free_bytes(memory)``                what can still be reserved
``no_space(memory, needed)``          the NoSpace that says of what there is too little
"""

import sys

if sys.platform == "win32":
    from shmring.segment.windows import growing as here
else:
    from shmring.segment.posix import growing as here

unnamed = here.unnamed
reserve = here.reserve
map_range = here.map_range
file = here.file
check_free = here.check_free
free_bytes = here.free_bytes
no_space = here.no_space

__all__ = ["check_free", "file", "free_bytes", "map_range", "no_space", "reserve", "unnamed"]
