"""Everything that a user of the package may call or read, found in the package itself.

``python tests/face/public.py > tests/face/signatures.txt`` writes down what there is now.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import shmring
from shmring import _core
from shmring.aio.waiting import AsyncLease

MODULES = (shmring, shmring.segment, shmring.codecs)
# Not named in the package, but what calls of it return.
RETURNED = (_core.Lease, AsyncLease)
HEADINGS = ("Waits", "Raises", "When cancelled", "When a peer dies", "Copies", "Threads")
_HEADING = re.compile(rf"^({'|'.join(HEADINGS)}):$", re.MULTILINE)
_RAISED = re.compile(r"^    (\w+): ", re.MULTILINE)


class Public(NamedTuple):
    """A class, function, method or attribute."""

    name: str  # "Ring.put", "segment.create"
    what: Any
    owner: type | None  # of a method or attribute

    @property
    def doc(self) -> str:
        """Its docstring, which an override without one takes from what it overrides."""
        return inspect.getdoc(self.what) or ""

    @property
    def is_attribute(self) -> bool:
        """Whether it is read, and not called."""
        return not callable(self.what)

    @property
    def signature(self) -> str:
        """What it is called with; nothing for attributes, and for classes that take what their base takes."""
        of_base = inspect.isclass(self.what) and not getattr(self.what.__init__, "__module__", "").startswith("shmring")
        return (
            ""
            if self.is_attribute or (of_base and not dataclasses.is_dataclass(self.what))
            else str(inspect.signature(self.what))
        )

    @property
    def raises(self) -> list[str]:
        """The exceptions that its docstring names."""
        return _RAISED.findall(sections(self.doc).get("Raises", ""))


def sections(doc: str) -> dict[str, str]:
    """Each heading of a docstring and what is under it, in order."""
    found = [*_HEADING.finditer(doc)]
    ends = [*(each.start() for each in found[1:]), len(doc)]
    return {each[1]: doc[each.end() + 1 : end] for each, end in zip(found, ends, strict=False)}


def public() -> Iterator[Public]:
    """Everything, each once, in alphabetical order."""
    yield from sorted(_all(), key=lambda each: each.name)


def _all() -> Iterator[Public]:
    for module in MODULES:
        prefix = module.__name__.partition(".")[2]
        names = [*module.__all__, *(["list"] if module is shmring else [])]
        for name in names:
            what = getattr(module, name)
            if not inspect.ismodule(what):
                yield from _with_members(f"{prefix}.{name}" if prefix else name, what)
    for what in RETURNED:
        yield from _with_members(what.__name__, what)


def _with_members(name: str, what: Any) -> Iterator[Public]:
    yield Public(name, what, None)
    if not inspect.isclass(what):
        return
    for member in dir(what):
        owner = next((each for each in what.__mro__ if member in vars(each)), None)
        if not member.startswith("_") and owner is not None and owner.__module__.startswith("shmring"):
            found = vars(owner)[member]
            if inspect.isroutine(getattr(what, member)) or inspect.isdatadescriptor(found):
                yield Public(f"{name}.{member}", getattr(what, member), owner)


def written_down() -> str:
    """One line for each."""
    return "".join(f"{each.name}{each.signature}\n" for each in public())


if __name__ == "__main__":
    print(written_down(), end="")
