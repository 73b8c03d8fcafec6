"""A place where one public call is provoked: what it is called on, and with what."""

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import shmring

Made = Any
KINDS = {
    "Ring": shmring.Ring,
    "Topic": shmring.Topic,
    "Latest": shmring.Latest,
    "Queue": shmring.Queue,
    "JoinableQueue": shmring.JoinableQueue,
    "SimpleQueue": shmring.SimpleQueue,
}
QUEUES = ("Queue", "JoinableQueue", "SimpleQueue")


class Undecodable:
    """What can be pickled, and not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("nothing",)


class Stand:
    """Where one call is provoked: what it is called on, and how."""

    def __init__(self, what: str, name: str, tmp_path: Path, start: Callable[..., Any], gate: Any) -> None:
        self.kind, _, self.call = what.rpartition(".")
        if not self.kind:
            self.kind, self.call = ("Ring", what) if what[0].islower() else (what, "")
        self.name, self.tmp_path, self.start, self.gate = name, tmp_path, start, gate
        self.stack = contextlib.ExitStack()
        self.timeout: float = 0
        self.message: Any = b"x"

    def make(self, **options: Any) -> Made:
        """A new one of that kind, small, and named."""
        maker = (
            "Topic" if self.kind == "Subscription" else "Ring" if self.kind in ("Producer", "Consumer") else self.kind
        )
        if maker in QUEUES:
            made = KINDS[maker](name=self.name, **options)
        else:
            size = {"size": 1024} if maker == "Latest" else {"capacity": 4096}
            made = KINDS[maker].create(self.name, **{**size, **options})
        made = self.stack.enter_context(made)
        if self.kind == "Subscription":
            self.topic = made
            return self.stack.enter_context(made.subscribe())
        return getattr(made, self.kind.lower())() if self.kind in ("Producer", "Consumer") else made

    def make_by_the_call(self, **options: Any) -> Made:
        """What create, attach, open or the queue's constructor makes of the name."""
        if self.kind in QUEUES:
            return KINDS[self.kind](name=self.name, **options)
        return getattr(KINDS[self.kind], self.call)(self.name, **options)

    def clean_up(self) -> None:
        """Close it all, and remove the name."""
        self.stack.close()
        with contextlib.suppress(FileNotFoundError):
            shmring.unlink(self.name)

    def source(self, made: Made) -> Made:
        """What messages are put into."""
        return self.topic if self.kind == "Subscription" else made

    def put(self, made: Made, message: Any) -> None:
        """Put, publish or set."""
        source = self.source(made)
        put = next(getattr(source, name) for name in ("put", "publish", "set") if hasattr(source, name))
        put(message)

    def invoke(self, made: Made) -> object:
        """The call, so that it does not wait, in an event loop if it is a coroutine."""
        arguments: dict[str, Any] = {}
        method = getattr(made, self.call)
        for parameter in inspect.signature(method).parameters.values():
            if parameter.name == "timeout":
                arguments["timeout"] = self.timeout
            elif parameter.name == "block":
                arguments["block"] = bool(self.timeout)
            elif parameter.default is parameter.empty:
                arguments[parameter.name] = self.argument(parameter.name)
        positional = [
            arguments.pop(each.name)
            for each in inspect.signature(method).parameters.values()
            if each.kind is each.POSITIONAL_ONLY and each.name in arguments
        ]
        result = method(*positional, **arguments)
        if inspect.iscoroutine(result):
            return asyncio.run(result)
        if hasattr(result, "__aenter__") and hasattr(result, "redelivered"):
            return asyncio.run(_entered(result))
        if hasattr(result, "__enter__") and hasattr(result, "redelivered"):
            with result as view:
                return bytes(view)
        return result

    def argument(self, parameter: str) -> Any:
        """What a call is given."""
        return {
            "data": self.message,
            "obj": self.message,
            "value": self.message,
            "iterable": [self.message],
            "length": 10_000 if self.message == bytes(10_000) else 1,
            "buffer": bytearray(100),
            "version": 0,
        }[parameter]


async def _entered(lease: Any) -> bytes:
    async with lease as view:
        return bytes(view)
