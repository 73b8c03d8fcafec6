"""The mapping itself, for people who want memory, not messages.

::

    with segment.create("frame", "8 MiB") as memory:      # another process: segment.attach("frame")
        numpy.frombuffer(memory, dtype="uint8")[:] = 0

Named segments (POSIX shared memory, Windows' page file), anonymous ones (for forked children, or transferable in a
pickle), and files; shared or private copy-on-write, writable or read-only.
"""

import sys

if sys.platform == "win32":
    from shmring.segment.windows.mapping import Segment, anonymous, attach, create, file, unlink
else:
    from shmring.segment.posix.mapping import Segment, anonymous, attach, create, file, unlink

__all__ = ["Segment", "anonymous", "attach", "create", "file", "unlink"]


del sys


def __dir__() -> list[str]:
    return __all__
