"""shmring: messages between processes through shared memory, by name, at memory speed.

Layers, each importing only what stands to its left (tests/test_layering.py holds them to it)::

    errors, generic <- _core <- segment <- names.semaphores, names.places, aio <- names.registry <- admin.inspection
        <- workers <- pipeline <- demo, bench <- cli
    names.registry, codecs <- options <- attachment <- ring, topic, latest
    ring <- queues, workers
    queues <- admin.leftovers <- admin.doctor

``errors``    the exception tree; imports nothing of ours
``generic``   the type parameter of rings, queues, topics and latest values
``_core``     the C11 core: rings, waiting, liveness, repair (core/LAYOUT.md is its specification); its calls from
              Python are in binding/
``codecs``    objects to the bytes of a record and back; knows neither rings nor memory
``segment``   mapping memory: named, anonymous, file-backed; where platforms differ
``names``     ``registry``: create, attach, unlink; ``places``: what a name stands for on this platform;
              ``semaphores``: the three of a ring of that kind
``aio``       ``waiting`` in an event loop; ``parking`` is where its tasks sleep
``options``   what a user asks for with keywords, checked
``attachment`` what all that a user holds has in common: making, finding, leaving, travelling
``ring``, ``topic``, ``latest`` what a user holds
``queues``    rings linked to queues of objects, with multiprocessing's calls
``admin``     ``inspection``: what a ring looks like from outside (inspect, list); ``leftovers``: what the killed left
              behind (clean); ``doctor``: whether this machine is fit for rings
``bench``     how fast it all is; its sources are bench/ in the repository
``workers``   ProcessPoolExecutor: worker processes, tasks and results through rings
``pipeline``  Pipeline: stages of workers
"""

try:
    from shmring import _core as _core
except ImportError as error:
    raise ImportError(
        f"{__path__[0]} has no compiled core for this Python; if it is the source tree, it hides the installed one: "
        "run from another folder, or set PYTHONSAFEPATH=1, or use `make`, which does"
    ) from error

import importlib as _importlib
from typing import TYPE_CHECKING, Any

from shmring import codecs, segment
from shmring.admin.doctor import Finding, examine
from shmring.admin.inspection import AttachmentInfo, RingInfo, inspect, list_rings
from shmring.admin.leftovers import Leftover, clean
from shmring.errors import (
    Busy,
    Closed,
    Corrupt,
    DeadPeer,
    DecodeError,
    Empty,
    Full,
    LayoutMismatch,
    MessageTooLong,
    NoSpace,
    NotReady,
    Overwritten,
    PeerDied,
    ShmringError,
    ShutDown,
    StageError,
)
from shmring.latest import Latest, LatestStats
from shmring.names.registry import get_include, unlink
from shmring.queues import JoinableQueue, Queue, SimpleQueue
from shmring.ring import Consumer, Producer, Ring, RingStats
from shmring.topic import SubscriberStats, Subscription, Topic, TopicStats

if TYPE_CHECKING:
    from shmring.pipeline import Pipeline, StageStats
    from shmring.workers import ProcessPoolExecutor, WorkerDied

__version__ = "0.1.0"

list = list_rings

# All but `list`, which a star import must not put in the place of Python's.
__all__ = [
    "AttachmentInfo",
    "Busy",
    "Closed",
    "Consumer",
    "Corrupt",
    "DeadPeer",
    "DecodeError",
    "Empty",
    "Finding",
    "Full",
    "JoinableQueue",
    "Latest",
    "LatestStats",
    "LayoutMismatch",
    "Leftover",
    "MessageTooLong",
    "NoSpace",
    "NotReady",
    "Overwritten",
    "PeerDied",
    "Pipeline",
    "ProcessPoolExecutor",
    "Producer",
    "Queue",
    "Ring",
    "RingInfo",
    "RingStats",
    "ShmringError",
    "ShutDown",
    "SimpleQueue",
    "StageError",
    "StageStats",
    "SubscriberStats",
    "Subscription",
    "Topic",
    "TopicStats",
    "WorkerDied",
    "clean",
    "codecs",
    "examine",
    "get_include",
    "inspect",
    "segment",
    "unlink",
]

_LATE = {"Pipeline": "pipeline", "StageStats": "pipeline", "ProcessPoolExecutor": "workers", "WorkerDied": "workers"}


def __dir__() -> tuple[str, ...]:
    return (*__all__, "list", "__version__", "__doc__", "__file__", "__path__")


def __getattr__(name: str) -> Any:
    """Names that bring multiprocessing along are imported when they are first asked for."""
    if name in _LATE:
        return getattr(_importlib.import_module(f"shmring.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
