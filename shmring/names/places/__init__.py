"""Where rings stand, and how a name comes to one and leaves it again. Platforms differ behind this package.

``place(name)``          what a name means
``make``                 a segment for a place, which has no name yet
``check_locks``          OSError in words where a segment cannot have the locks by which the kernel says who lives
``keep_locks_apart``     gives it a file for its locks where its mode lets others read alone; ``lock_identities``
                         those there are; ``remove_lock_file`` that of a ring which is gone
``give_name``            the one step by which it gets it; FileExistsError when something stands there
``open``                 what stands there, mapped
``still_there``          whether the name still leads to that very segment
``remove_name``          take the name away from that very segment; ``remove_anything`` whatever it leads to;
                         ``may_remove`` whether this user may
``keep``                 what the last to leave does with a ring that is not empty; ``ENDS_WITH_PROCESSES``: whether
                         memory that is in no file goes with its last process
``is_held``              whether any process uses that segment, of whatever layout
``names``                those there are; ``sweep`` those that killed processes left and that lead nowhere
``status``, ``status_of`` what the file system says; ``owner_of``, ``user_id``, ``user_name``, ``trusted`` whose it is,
                         ``owner_is_known`` whether that number is one user's
"""

import sys

from shmring.names.places.place import Place, Status

if sys.platform == "win32":
    from shmring.names.places import windows as here
elif sys.platform == "linux":
    from shmring.names.places import linux as here
else:
    raise ImportError(f"shmring runs on Linux and Windows; on {sys.platform} only its C core compiles so far")

place = here.place
make = here.make
check_locks = here.check_locks
keep_locks_apart = here.keep_locks_apart
lock_identities = here.lock_identities
remove_lock_file = here.remove_lock_file
give_name = here.give_name
open = here.open_place
still_there = here.still_there
remove_name = here.remove_name
may_remove = here.may_remove
may_remove_file = here.may_remove_file
remove_anything = here.remove_anything
keep = here.keep
ENDS_WITH_PROCESSES = here.ENDS_WITH_PROCESSES
is_held = here.is_held
names = here.names
sweep = here.sweep
status = here.status
status_of = here.status_of
owner_of = here.owner_of
user_id = here.user_id
user_name = here.user_name
trusted = here.trusted
owner_is_known = here.owner_is_known

__all__ = [
    "ENDS_WITH_PROCESSES",
    "Place",
    "Status",
    "check_locks",
    "give_name",
    "is_held",
    "keep",
    "keep_locks_apart",
    "lock_identities",
    "make",
    "may_remove",
    "may_remove_file",
    "names",
    "open",
    "owner_is_known",
    "owner_of",
    "place",
    "remove_anything",
    "remove_lock_file",
    "remove_name",
    "status",
    "status_of",
    "still_there",
    "sweep",
    "trusted",
    "user_id",
    "user_name",
]
