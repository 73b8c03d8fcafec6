"""What one holds of a segment: making it, finding it, coming and going, travelling to other processes."""

from __future__ import annotations

import contextlib
import errno
import gc
import inspect
import os
import reprlib
import traceback
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Never, Self

from shmring import _core, codecs, interruption, segment
from shmring.diagnosis import pages_lost, title
from shmring.ending import Leaving
from shmring.errors import Closed, DecodeError, LayoutMismatch, NotThere, ShmringError
from shmring.generic import Message
from shmring.handles import Luggage, Sender
from shmring.names import places, registry, semaphores
from shmring.names.places import Place, trust
from shmring.names.registry import Wish
from shmring.options import Manner
from shmring.segment import growing
from shmring.segment.contract import copied
from shmring.segment.descriptors import shortage_explained
from shmring.segment.machine import check_machine, machine
from shmring.segment.names import printable

if TYPE_CHECKING:
    from types import TracebackType

_LONGEST_CAUSE = 1000  # characters

_open: weakref.WeakSet[Attachment[Any]] = weakref.WeakSet()


class Attachment(_core.Attachment[Message]):
    """One process's attachment to a segment; the base of Ring, Topic, its subscriptions, and Latest."""

    _noun: ClassVar[str]  # in messages to people
    _is_queue: ClassVar[bool] = False
    _kinds: ClassVar[tuple[str, ...]]
    _segment: segment.Segment
    _place: Place | None
    _identity: int
    _kind: str
    _codec: str
    _flags: int
    _slots: int | None
    _manner: Manner
    _hold: semaphores.Hold | None
    _sender: Sender | None = None  # once a handle was sent

    # --- making and finding ---

    def __init__(self, *use_create_attach_or_open: Never, **options: Never) -> None:
        """Refuse, with the call that was probably meant."""
        raise TypeError(self._refusal(use_create_attach_or_open, options))

    @classmethod
    def _refusal(cls, arguments: tuple[object, ...], options: Mapping[str, object]) -> str:
        named = (f"{name}={reprlib.repr(value)}" for name, value in options.items())
        given = ", ".join([*map(reprlib.repr, arguments), *named])
        ways = ["open", "attach", "create"] if arguments or options else ["create"]
        meant = next((way for way in ways if _takes(getattr(cls, way), arguments, options)), None)
        call = f"{meant}({given})" if meant else f"open({reprlib.repr(arguments[0]) if arguments else 'name'})"
        return (
            f"{cls.__name__}({given}) makes no {cls._noun}; use {cls.__name__}.create, attach or open, such as "
            f"shmring.{cls.__name__}.{call}"
        )

    def _join(self, *arguments: Any, **options: Any) -> None:
        """Become this process's attachment, where __init__ would."""
        _core.Attachment.__init__(self, *arguments, **options)

    @classmethod
    def _where(cls, name: str | None, path: str | os.PathLike[str] | None) -> Place | None:
        """The place meant, or None for neither name nor path."""
        return None if name is None and path is None else registry.place_of(name, path, cls._noun)

    @classmethod
    @shortage_explained()
    def _create(cls, asked: Wish, place: Place | None, how: Manner) -> Self:
        memory, identity, hold = registry.new_segment(asked, place)
        try:
            made = cls._on(memory, place, how, hold)
        except BaseException:
            semaphores.remove(asked.kind, identity)
            memory.close()
            raise
        if place is not None:
            try:
                registry.publish(memory, place)
            except BaseException:
                made.close()
                raise
        return made

    @classmethod
    @shortage_explained()
    def _attach(cls, place: Place, timeout: float | None, how: Manner) -> Self:
        if timeout is not None and not (isinstance(timeout, (int, float)) and 0 <= timeout < float("inf")):
            raise ValueError(f"timeout is {timeout!r}; it is a number of seconds from 0, or None to wait forever")
        return registry.attach(place, timeout, how.owner, lambda memory: cls._on(memory, place, how))

    @classmethod
    @shortage_explained()
    def _open(cls, asked: Wish, place: Place, how: Manner, given: dict[str, bool]) -> Self:
        """Attach or create; ``given`` says which of the wishes the user has expressed."""
        while True:
            if registry.reclaim(place) is not None:
                with contextlib.suppress(NotThere):
                    found = cls._attach(place, 0, how)
                    found._check(asked, given)
                    return found
            with contextlib.suppress(FileExistsError):
                return cls._create(asked, place, how)

    def _check(self, asked: Wish, given: dict[str, bool]) -> None:
        there = {"capacity": self.capacity, "kind": self._kind, "slots": self._slots or 0}
        there |= {"size": self.capacity, "overflow": self._overflow}
        wanted = {"capacity": asked.capacity, "kind": asked.kind, "slots": asked.slots}
        wanted |= {"size": asked.capacity, "overflow": "overwrite" if asked.overwrite else "block"}
        for what, is_given in given.items():
            if is_given and wanted[what] != there[what]:
                self.close()
                raise LayoutMismatch(
                    f"the {self._noun} that is there has {what} {there[what]!r}, not {wanted[what]!r}; leave {what} "
                    "out to take it as it is, or unlink it first"
                )

    @property
    def _overflow(self) -> str:
        return "overwrite" if self._flags & registry.FLAG_OVERWRITE else "block"

    @classmethod
    @shortage_explained()
    def _on(
        cls,
        memory: segment.Segment,
        place: Place | None,
        how: Manner,
        hold: semaphores.Hold | None = None,
        *,
        at: int = 0,
        populate: bool = True,
        inherited: bool = False,
    ) -> Self:
        """Attach to what is mapped. ``at``: where it begins in its file; ``populate``: map all pages at first use;
        ``inherited``: this process is attached already, so that a name that is gone does not matter.
        """
        kind, slots, identity, flags, _ = _core.describe(memory)
        if kind not in cls._kinds:
            face = {"topic": "Topic", "latest": "Latest"}.get(kind, "Ring")
            raise LayoutMismatch(f"what is there is of kind {kind!r}; use shmring.{face} for it")
        stored = registry.codec_of(memory)
        if bool(flags & registry.FLAG_QUEUE) != cls._is_queue:
            raise LayoutMismatch(
                f"{place.title if place else 'what is there'} is a queue; use shmring.Queue(name=...), or JoinableQueue"
            )
        codec = cls._codec_for(stored, how)
        if getattr(codec, "runs_code", False):
            trust.check_runs_code(memory, place, stored, cls._noun)
        is_shared = trust.is_shared_with_others(memory, place)
        if is_shared:
            codec = codecs.among_strangers(codec, asked=how.codec is not None)
        names = semaphores.names(kind, identity)
        if names and hold is None:
            hold = registry.hold_semaphores(memory, place, identity)
        try:
            keeps_name = place is not None and not places.may_remove(memory, place)
            clears_claims = place is not None and trust.is_open_to_others(memory)
            is_wary = place is not None and not is_shared
            is_wary = is_wary and codecs.believes_writers(codec, asked=how.codec is not None)
            owner = places.owner_of(memory) if is_wary else None  # all that may fail comes before it is attached
            name = place.name if place else None
            path = str(place.path) if place else None
            made = cls.__new__(cls)
            made._place = place  # errors name it
            how_to = (how.spin_ns, how.outlive_peers, codec, at, populate, inherited, path)
            locks_path = str(memory.locks.path) if memory.locks else None
            made._join(memory, memory.fd, name, names, *how_to, locks_fd=memory._locks_fd, locks_path=locks_path)
        except BaseException as error:
            if hold:
                hold.close()
            if names and isinstance(error, FileNotFoundError) and error.filename in names:
                raise registry.semaphores_went(memory, place) from None
            raise
        made._segment, made._manner, made._hold = memory, how, hold
        memory.called = title(made)
        memory.users += 1
        made._identity, made._kind, made._slots, made._codec = identity, kind, slots or None, stored
        made._flags = flags
        if keeps_name:
            made._keep_name()
        if clears_claims:
            made._clear_claims()
        if owner is not None:
            made._be_wary(owner)
        _open.add(made)
        _leaving.watch()
        return made

    @classmethod
    def _codec_for(cls, stored: str, how: Manner) -> codecs.Codec | None:
        return codecs.recognise(stored, how.codec)

    # --- what it is ---

    @property
    def kind(self) -> str:
        """Which kind it is: "spsc", "mpmc", "semaphore", "topic" or "latest"."""
        return self._kind

    @property
    def codec(self) -> str:
        """What a message is: the name of the codec that is stored in the segment."""
        return self._codec

    @property
    def slots(self) -> int | None:
        """The most messages at a time; None when only the capacity bounds them."""
        return self._slots

    @property
    def _where_shown(self) -> str:
        return "anonymous" if self._place is None else repr(self._place.name or str(self._place.path))

    def __repr__(self) -> str:
        closed = " closed" if self.closed else ""
        return f"<{type(self).__name__} {self._where_shown} {self._kind} capacity={self.capacity}{closed}>"

    # --- messages that cannot be put, encoded or decoded ---

    def _tell_how_many(self, error: BaseException, sent: int, holds: bool, unsent: object) -> None:
        """Called by the core, for what ended a put_many: it says how many went in, and has the item that did not."""
        words = f"{sent} message(s) of this call went in before"
        if isinstance(error, ShmringError) and error.args and isinstance(error.args[0], str):
            error.args = (f"{error.args[0]}; {words}", *error.args[1:])
        else:
            error.add_note(words)
        with contextlib.suppress(AttributeError):  # somebody else's, which takes none
            error.sent = sent  # type: ignore[attr-defined]
            if holds:
                error.unsent = unsent  # type: ignore[attr-defined]

    def _unencodable(self, made: object) -> TypeError:
        """Called by the core, for what its codec's encode returned."""
        what = repr(type(made).__name__)
        if isinstance(made, (list, tuple)):
            odd = next((each for each in made if not _is_buffer(each)), None)
            what = f"a {type(made).__name__} with {type(odd).__name__!r} in it"
        return TypeError(
            f"encode() of codec {self.codec!r} returned {what}; it returns bytes or any other buffer, or a list or "
            "tuple of buffers, which are put one behind the other"
        )

    def _came_between(self, error: BaseException) -> bool:
        """Called by the core, for what a codec raised: is it a signal handler's, and so nothing about the message?

        The frames that ended with it must not go on referring to the record, whosever it is.
        """
        came_between = interruption.is_raised_by_handler(error)
        traceback.clear_frames(error.__traceback__)
        return came_between

    def _opened_to_others(self) -> PermissionError:
        """Called by the core, for memory that others may write to, or might for a while, since we attached."""
        return trust.opened_since(self._segment, self._place, self._codec)

    def _references_in(self, ended: TracebackType | None, view: memoryview) -> int:
        """Called by the core: how many variables of the functions that an exception has ended refer to this view."""
        count = 0
        while ended is not None:
            count += sum(each is view for each in gc.get_referents(ended.tb_frame))
            ended = ended.tb_next
        return count

    def _undecodable(self, cause: BaseException, position: int, length: int, identity: int) -> DecodeError:
        """Called by the core, for what a codec raised of itself."""
        error = DecodeError(
            f"a message of {title(self)} ({length} bytes at position {position}, codec {self.codec!r}) cannot be "
            f"decoded here: {_shown(cause)}; {self._undecodable_hint.format(noun=self._noun)}",
            position,
            length,
            identity,
        )
        error.__cause__ = cause
        return error

    _undecodable_hint: str

    def _in_own_words(self, result: str, verb: str, length: int) -> BaseException | None:
        """Called by diagnosis, for what it takes more than the core's word to tell."""
        if result != "pages_lost":
            return None
        try:
            size, free = places.status(self._segment).size, growing.free_bytes(self._segment)
        except (AttributeError, OSError):  # it is being attached, or its descriptor is gone
            return None
        if size < len(self._segment):
            return pages_lost(self, f"somebody truncated its file, to {size} of {len(self._segment)} bytes")
        if self._kind == "semaphore" and semaphores.are_truncated(self._identity):
            return pages_lost(self, "somebody truncated the file of one of its semaphores")
        why = f"no space for them ({free} bytes are free now), or a disk that fails"
        return pages_lost(self, f"its file has all its bytes, but the system could not give memory for some: {why}")

    # --- ending ---

    def close(self) -> None:
        """Leave; threads that wait in this object get Closed. The last to leave an empty segment removes it.

        May be called again.

        Waits:
            Never for messages; up to a second for another process that creates, joins or leaves the same. Where one is
            stopped as it does so, the name may stay for the next to attach, or clean(), to remove.
        Raises:
            BufferError: A claimed or borrowed view is open.
        Threads:
            Any thread may call it. Where others are within a call, the last of those completes it.
        """
        if self._begin_close():
            self._complete_close()

    def _complete_close(self) -> None:
        """Called by close, or by the core when the last blocked call has left what is being closed."""
        _open.discard(self)
        if self._sender is not None:
            self._sender.leave()
        unusable = self._hold is not None and self._is_truncated()
        abandoned = self._detach()
        try:
            if abandoned:
                with contextlib.suppress(PermissionError):  # another user's: its next create takes the place over
                    semaphores.remove(self._kind, self._identity)
                    if self._place is not None:
                        registry.remove_name(self._segment, self._place)
            elif self._place is not None:
                registry.keep(self._segment, self._place)
        finally:
            self._segment.users -= 1
            self._finish_close(not self._segment.users)
            if not self._segment.users:
                self._segment.close()
            if self._hold:
                self._hold.close()
            if unusable:
                with contextlib.suppress(PermissionError):  # another user's
                    semaphores.remove_if_unused(self._identity, however_young=True)

    def _is_truncated(self) -> bool:
        """Has its file been cut off? Nobody ever attaches to such a one, nor needs its semaphores."""
        try:
            return places.status(self._segment).size < len(self._segment)
        except OSError as error:
            if error.errno == errno.EBADF:  # somebody closed our descriptor
                return False
            raise

    def _keep_at_end(self) -> None:
        """Called at the end of the process, when this could not be closed."""
        if self._place is not None:
            registry.keep_at_end(self._segment, self._place)

    def unlink(self) -> None:
        """Remove the name. Processes that are attached go on; none can attach any more.

        Waits:
            Never for messages; up to ten seconds for another process that joins or leaves the same.
        Raises:
            FileNotFoundError: The name is gone already, even if another one has it now.
            PermissionError: It is another user's to remove.
            NotReady: Another process has stood in the way for ten seconds: it is stopped, most likely.
            ValueError: It is anonymous, and has no name.
        """
        if self._place is None:
            raise ValueError(f"an anonymous {self._noun} has no name to unlink; close() it")
        registry.unlink_at(self._place, self._identity)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        try:  # noqa: SIM105 - contextlib may be gone
            self.close()
        except Exception:  # half-built, or at interpreter exit: the kernel cleans up after us
            pass

    # --- travelling ---

    __copy__ = __deepcopy__ = copied

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self.closed:
            raise Closed(f"{self!r} is closed in this process and cannot be sent to another; attach it again first")
        luggage, memory = self._pack()
        return _attach_pickled, (type(self), memory, self._place, self._identity, self._manner, machine(), luggage)

    @property
    def _settle(self) -> Callable[[segment.Segment], object]:
        place = self._place
        return (lambda memory: None) if place is None else (lambda memory: registry.settle(memory, place))

    def _pack(self) -> tuple[Luggage, segment.Segment | None]:
        """For a handle of this that is about to travel: and the memory, where no name leads to it."""
        if self._sender is not None and not self._sender.is_mine:  # a forked child: the handles are the parent's
            self._sender.close()
            self._sender = None
        if self._sender is None:
            self._sender = Sender(self._segment, self._settle)
        return self._sender.pack(), self._sender.memory if self._place is None else None


def _shown(cause: BaseException) -> str:
    """What a codec raised, which may quote the message."""
    words = f"{type(cause).__name__}: {cause}"
    return printable(words if len(words) <= _LONGEST_CAUSE else f"{words[:_LONGEST_CAUSE]}...")


def _takes(call: Callable[..., object], arguments: tuple[object, ...], options: Mapping[str, object]) -> bool:
    try:
        inspect.signature(call).bind(*arguments, **options)
    except TypeError:
        return False
    return True


def _is_buffer(part: object) -> bool:
    try:
        memoryview(part).release()  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


@shortage_explained()
def _attach_pickled(
    cls: type[Attachment[Any]],
    memory: segment.Segment | None,
    place: Place | None,
    identity: int,
    how: Manner,
    origin: str,
    luggage: Luggage,
) -> Attachment[Any]:
    if memory is not None:
        made = cls._on(memory, None, how)
    else:
        assert place is not None
        check_machine(origin, f"the {place.title}")
        made = cls._attach(place, 0, how)
    if made._identity != identity:
        made.close()
        what = f"the {place.title}" if place else f"the anonymous {cls._noun}"
        raise NotThere(errno.ENOENT, f"{what} that this handle was made for is gone; another one has its name now")
    luggage.unpack(made._segment)
    return made


def _attach_all_after_fork() -> None:
    for each in [*_open]:
        with contextlib.suppress(Exception):  # raised again, and seen, at the first use in the child
            each._after_fork()


_leaving = Leaving(lambda: [*_open])
if hasattr(os, "register_at_fork"):  # where processes fork
    os.register_at_fork(after_in_child=_attach_all_after_fork)
