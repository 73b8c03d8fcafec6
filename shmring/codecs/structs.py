"""msgspec: MessagePack, untyped, or typed and then checked where it is put, attached to and decoded."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import msgspec.inspect

from shmring.codecs.protocol import NamedCodec

if TYPE_CHECKING:
    from typing_extensions import Buffer

_WORDS_FOR_PEOPLE = {"description", "title", "examples"}


class MsgspecCodec(NamedCodec):
    """Whatever MessagePack holds; Structs come out as dicts."""

    name = "msgspec"

    def __init__(self) -> None:
        self._encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
        self._decode: Callable[[memoryview], Any] = msgspec.msgpack.Decoder().decode

    @property
    def guarded(self) -> MsgspecCodec:
        """For messages of users who are not trusted: they cannot change what is being decoded."""
        made, decode = copy.copy(self), self._decode
        made._decode = lambda record: decode(memoryview(bytes(record)))
        return made

    def encode(self, value: Any, /) -> Buffer | Sequence[Buffer]:
        return self._encode(value)

    def decode(self, record: memoryview, /) -> Any:
        return self._decode(record)


class TypedCodec(MsgspecCodec):
    """Messages of one type."""

    def __init__(self, type_: Any) -> None:
        super().__init__()
        self.type = type_
        self.name = name_of(type_)
        decode = msgspec.msgpack.Decoder(type_).decode
        # Raw and memoryview would refer to the record, which is used again.
        refers = _refers(msgspec.inspect.type_info(type_), set())
        self._decode = (lambda record: decode(bytes(record))) if refers else decode
        self._is_class = isinstance(type_, type) and type_ is not Any and not hasattr(type_, "__origin__")

    def encode(self, value: Any, /) -> Buffer | Sequence[Buffer]:
        if self._is_class and not isinstance(value, self.type):
            raise TypeError(f"the ring takes {self.type!r}, not {type(value)!r}")
        return self._encode(value)

    def __reduce__(self) -> tuple[Any, ...]:
        return typed, (self.type,)


def typed(type_: Any) -> TypedCodec:
    """The codec of a type. TypeError for one that msgspec knows no schema of."""
    return TypedCodec(type_)


def name_of(type_: Any) -> str:
    """msgspec:NAME:FINGERPRINT, of what is on the wire; descriptions do not count."""
    schema = json.dumps(_bare(msgspec.json.schema(type_)), sort_keys=True)
    fingerprint = hashlib.blake2b(schema.encode(), digest_size=8).hexdigest()
    name = re.sub(r"[^A-Za-z0-9_]+", "-", getattr(type_, "__name__", str(type_)))[:32].strip("-")
    return f"msgspec:{name}:{fingerprint}"


def _refers(part: Any, seen: set[int]) -> bool:
    """Does what msgspec decodes as this have views of the bytes in it? ``seen``: a type may have itself in it."""
    if isinstance(part, (msgspec.inspect.RawType, msgspec.inspect.MemoryViewType)):
        return True
    if isinstance(part, tuple):
        return any(_refers(each, seen) for each in part)
    if not isinstance(part, (msgspec.inspect.Type, msgspec.inspect.Field)) or id(part) in seen:
        return False
    seen.add(id(part))
    return any(_refers(getattr(part, field), seen) for field in part.__struct_fields__)


def _bare(schema: Any) -> Any:
    if isinstance(schema, dict):
        fields = {key: _bare(value) for key, value in schema.items()}
        return {key: value for key, value in fields.items() if key not in _WORDS_FOR_PEOPLE or isinstance(value, dict)}
    return [_bare(each) for each in schema] if isinstance(schema, list) else schema


CODEC = MsgspecCodec()
