"""The three semaphores of a ring of the semaphore kind: mutex, full, empty. Platforms differ behind this package.

Their names follow the ring's identity, so that a later ring of the same name has others.
"""

import sys

from shmring.names.semaphores.naming import names

if sys.platform == "win32":
    from shmring.names.semaphores.windows import Hold, are_truncated, identities, make, remove, remove_if_unused
else:
    from shmring.names.semaphores.posix import Hold, are_truncated, identities, make, remove, remove_if_unused

__all__ = ["Hold", "are_truncated", "identities", "make", "names", "remove", "remove_if_unused"]
