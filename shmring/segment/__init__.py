"""The mapping itself, for people who want memory, not messages.

::

    with segment.create("frame", "8 MiB") as memory:      # another process: segment.attach("frame")
        numpy.frombuffer(memory, dtype="uint8")[:] = 0

Named segments (POSIX shared memory), anonymous ones (for forked children, or transferable in a pickle), and files;
shared or private copy-on-write, writable or read-only. Platforms differ behind this package and nowhere else.
"""

import sys

if sys.platform == "win32":
    raise ImportError("shmring.segment has no Windows backend yet; shmring runs on Linux for now")

from shmring.segment.posix import Segment, anonymous, attach, attach_named, create, file, unlink, unnamed

__all__ = ["Segment", "anonymous", "attach", "attach_named", "create", "file", "unlink", "unnamed"]
