"""Codecs: from objects to the bytes of one record, and back. They know nothing of rings or shared memory.

================ =================================================== =====================================
``codec=``       a message is                                        ``borrow()`` gives
================ =================================================== =====================================
``"bytes"``      any buffer; ``get`` gives bytes                     a memoryview
``"pickle"``     anything that can be pickled                        the object; its arrays are views
``"numpy"``      an array of any dtype but object                    an array view
``"arrow"``      a RecordBatch or a Table                            the same, zero-copy
``"msgspec"``    whatever MessagePack holds                          the object
``msgspec(T)``   of type ``T``; checked when attaching and decoding  the object
================ =================================================== =====================================

A codec's name is stored in the ring, so that whoever attaches needs no argument. :func:`register` adds one of your own.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from shmring.codecs.protocol import Codec, NamedCodec
from shmring.errors import LayoutMismatch

__all__ = ["Codec", "msgspec", "register"]


def __dir__() -> list[str]:
    return __all__


RAW = "raw"  # when attaching: the records as they are, whatever their codec
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,62}", re.ASCII)
_BUILT_IN = {"pickle": "pickling", "numpy": "arrays", "arrow": "tables", "msgspec": "structs"}
_PACKAGE = {"numpy": "numpy", "arrow": "pyarrow", "msgspec": "msgspec"}
_known: dict[str, Codec] = {}


def register(codec: Codec) -> Codec:
    """Make a codec known by its name in this process, for ``codec="name"`` and for attaching to rings that use it.
    Return it.

    Raises:
        TypeError: It lacks a method.
        ValueError: Its name does not fit, or is taken.
    Threads:
        Any thread may call it.
    """
    check(codec)
    _refuse_built_in(codec.name)
    if _known.setdefault(codec.name, codec) is not codec and type(_known[codec.name]) is not type(codec):
        raise ValueError(f"the codec name {codec.name!r} is taken by {_known[codec.name]!r}; give yours another")
    _known[codec.name] = codec
    return codec


def msgspec(type: Any) -> NamedCodec:
    """Return the codec for msgspec Structs, or anything else that msgspec can type, in MessagePack.

    The name holds a fingerprint of the type's schema: a ring made with it takes attachments with the same schema only.
    In a process that has made it, ``attach`` finds it by name.

    Raises:
        ModuleNotFoundError: msgspec is not installed: ``pip install "shmring[msgspec]"``.
        TypeError: msgspec knows no schema of the type.
    """
    made = _module("msgspec").typed(type)
    _known[made.name] = made
    return made  # type: ignore[no-any-return]


def _refuse_built_in(name: str) -> None:
    if name in ("bytes", RAW) or name in _BUILT_IN:
        raise ValueError(f"the codec name {name!r} is built in; give yours another")


def check(codec: Codec) -> Codec:
    """The codec itself, if it is one; TypeError or ValueError."""
    missing = [name for name in ("encode", "decode", "view") if not callable(getattr(codec, name, None))]
    name = getattr(codec, "name", None)
    if missing or not isinstance(name, str):
        lacks = ", ".join(missing + ([] if isinstance(name, str) else ["name"]))
        raise TypeError(f"codec is {codec!r}, which lacks {lacks}; a codec has name, encode, decode and view")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"the codec name {name!r} does not fit; it has 1 to 63 characters out of A-Z a-z 0-9 . _ : + -"
        )
    return codec


def find(codec: str | Codec | None) -> Codec | None:
    """The codec that a ring is to be made with; None for bytes. ImportError when its package is not installed."""
    if codec is None or codec == "bytes":
        return None
    if not isinstance(codec, str):
        check(codec)
        if not isinstance(codec, NamedCodec):  # one of ours, or made of it
            _refuse_built_in(codec.name)
        return codec
    found = _by_name(codec)
    if found is None:
        every = ", ".join(map(repr, ["bytes", *sorted({*_BUILT_IN, *_known})]))
        raise ValueError(f"codec is {codec!r}; known here are {every}, and what shmring.codecs.register() adds")
    return found


def recognise(stored: str, wanted: str | Codec | None) -> Codec | None:
    """The codec for a ring that says it uses ``stored``; None for bytes. LayoutMismatch when that is not ``wanted``."""
    if wanted == RAW:
        return None
    if wanted is not None:
        made = find(wanted)
        name = made.name if made else "bytes"
        if name != stored:
            raise LayoutMismatch(
                f"the ring's messages are {stored!r}, not {name!r}"
                + (_other_schema(stored, name) or "; leave codec= out to take them as they are")
            )
        return made
    if stored == "bytes":
        return None
    found = _by_name(stored)
    if found is None:
        first = (
            "with codec=shmring.codecs.msgspec(YourType)" if stored.startswith("msgspec:") else "after registering it"
        )
        raise LayoutMismatch(
            f"the ring's messages are {stored!r}, which this process does not know; attach {first}: "
            f"shmring.codecs.{'msgspec(YourType)' if stored.startswith('msgspec:') else 'register(codec)'}"
        )
    return found


def among_strangers(codec: Codec | None, *, asked: bool) -> Codec | None:
    """The codec for a ring that users who are not trusted may write to, its header included.

    Which of the codecs that only hold data a message is of may stand there; one of the user's own is used only where
    this process has ``asked`` for it. Those with a ``guarded`` variant, for messages that were made to do harm and
    change while they are read, give that.
    """
    if codec is None:
        return None
    if not asked and not any(codec is _known.get(name) for name in _BUILT_IN):
        raise LayoutMismatch(
            f"others may write to this ring, and its header says that its messages are {codec.name!r}, a codec of this "
            "program's own: to believe that, attach with codec= and that codec; or with codec='raw', for bytes"
        )
    return getattr(codec, "guarded", codec)


def believes_writers(codec: Codec | None, *, asked: bool) -> bool:
    """Is it, as it is, only for memory to which no other user may write?"""
    if codec is None:
        return False
    by_header = not asked and not any(codec is _known.get(name) for name in _BUILT_IN)
    return by_header or hasattr(codec, "guarded") or getattr(codec, "runs_code", False)


def _other_schema(stored: str, wanted: str) -> str:
    if stored.startswith("msgspec:") and wanted.startswith("msgspec:"):
        return ": the types differ in name or fields; use the creator's type, or another ring for this one"
    return ""


def _by_name(name: str) -> Codec | None:
    if name in _BUILT_IN and name not in _known:
        _known[name] = _module(name).CODEC
    return _known.get(name)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"shmring.codecs.{_BUILT_IN[name]}")
    except ModuleNotFoundError as error:
        package = _PACKAGE.get(name)
        if package is None or error.name != package:
            raise
        raise ModuleNotFoundError(
            f'the {name} codec needs {package}: pip install "shmring[{name}]"', name=package
        ) from None
