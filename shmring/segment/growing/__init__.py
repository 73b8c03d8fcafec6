"""Memory that grows at its end, range by range, while others have what was there before mapped: for queues.

``unnamed(size)``                     new memory of that kind without a name, which can be pickled
``reserve(memory, offset, length)``   real storage for a range, which may lie behind the end: NoSpace
``extend(memory, end)``               make it so long, without storage
``map_range(memory, offset, length)`` a mapping of a range, closed on its own
``clean(mapping)``                    zeros in a new range, where somebody may have used it before
``cut(memory, end)``                  give back what lies behind
``give_back(mapping, offset, length)`` give the storage of a part of a mapping back
``free_bytes(memory)``                what can still be reserved; ``where(memory)`` names that place to people
``size(memory)``                      how long it is by now
``GIVES_BACK``                        False where the last two do nothing, and a range has to be used again
"""

import sys

if sys.platform == "win32":
    from shmring.segment.growing import windows as here
else:
    from shmring.segment.growing import posix as here

GIVES_BACK = here.GIVES_BACK
unnamed = here.unnamed
reserve = here.reserve
extend = here.extend
map_range = here.map_range
clean = here.clean
cut = here.cut
give_back = here.give_back
free_bytes = here.free_bytes
where = here.where
size = here.size

__all__ = [
    "GIVES_BACK",
    "clean",
    "cut",
    "extend",
    "free_bytes",
    "give_back",
    "map_range",
    "reserve",
    "size",
    "unnamed",
    "where",
]
