"""numpy arrays: a record is what ``numpy.save`` writes, with the data on a boundary of 64 bytes.

So any program that reads .npy files can read the records. Only dtypes that this format has no words for (structured
ones whose fields overlap or are out of order) are described in numpy's own, as the argument of ``numpy.dtype``.
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy

from shmring.codecs import literals
from shmring.codecs.protocol import ALIGNMENT, NamedCodec, padding

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MAGIC = b"\x93NUMPY\x03\x00"
_LENGTH = struct.Struct("<I")
_PREFIX = len(_MAGIC) + _LENGTH.size
_REMEMBERED = 256  # headers; a stream of arrays mostly has few shapes
_LONGEST_REMEMBERED = 4096  # bytes of one
_MOST_OF_NOTHING = 1 << 24  # bytes that numpy may take for an array without any
_SCALAR = re.compile(r"[<>=|]?[a-zA-Z?][0-9]{0,10}(\[[0-9]{0,10}[a-zA-Z]{1,2}(/[0-9]{1,10})?\])?", re.ASCII)
_OWN_WORDS = {"names", "formats", "offsets", "titles", "itemsize", "aligned"}

_headers: dict[tuple[numpy.dtype[Any], tuple[int, ...], bool], bytes] = {}
_layouts: dict[bytes, tuple[numpy.dtype[Any], tuple[int, ...], bool]] = {}


class NumpyCodec(NamedCodec):
    """Arrays of any dtype but object, any shape, C or F order; 0-d ones and numpy's scalars too.

    A dtype's metadata, which numpy leaves out of comparisons and drops in most operations, stays behind.
    """

    name = "numpy"

    def encode(self, value: Any, /) -> Buffer | Sequence[Buffer]:
        if not isinstance(value, numpy.ndarray):
            if not isinstance(value, numpy.generic):
                raise TypeError(f"the numpy codec takes arrays, not {type(value)!r}; numpy.asarray(value) makes one")
            value = numpy.asarray(value)
        if isinstance(value, numpy.ma.MaskedArray):
            raise TypeError("the numpy codec would lose the mask of a masked array; put .filled(), or .data and .mask")
        if not value.flags.c_contiguous and not value.flags.f_contiguous:
            value = numpy.ascontiguousarray(value)
        is_fortran = value.flags.fnc
        header = _headers.get((value.dtype, value.shape, is_fortran)) or _describe(value, is_fortran)
        if not value.nbytes:
            return header
        # As plain bytes, because the buffer protocol has no format for dates; in the order in which they lie.
        return header, value.reshape(-1, order="A").view(numpy.uint8)

    def decode(self, record: memoryview, /) -> Any:
        return self.view(record).copy("A")

    def view(self, record: memoryview, /) -> Any:
        begin = _PREFIX + _LENGTH.unpack_from(record, len(_MAGIC))[0]
        if begin > min(record.nbytes, _PREFIX + literals.LONGEST):
            raise ValueError(
                f"a header of {begin} bytes, in a record of {record.nbytes}; it has {literals.LONGEST} at most"
            )
        header = bytes(record[:begin])
        dtype, shape, is_fortran = _layouts.get(header) or _parse(header)
        count = math.prod(shape)
        order: Literal["F", "C"] = "F" if is_fortran else "C"
        if not count or not dtype.itemsize:
            if max(count, dtype.itemsize) > _MOST_OF_NOTHING:
                raise ValueError(
                    f"an array of {count} items of {dtype.itemsize} bytes; without any bytes it may have "
                    f"{_MOST_OF_NOTHING} of either"
                )
            return numpy.empty(shape, dtype, order)
        if count * dtype.itemsize > record.nbytes - begin:
            raise ValueError(
                f"an array of shape {shape} and {dtype.itemsize} bytes an item, in the {record.nbytes - begin} bytes "
                "behind the header"
            )
        # Not numpy.ndarray(buffer=record), which does not hold on to the buffer.
        return numpy.frombuffer(record, dtype, count, begin).reshape(shape, order=order)

    def release(self, view: Any, /) -> None:
        """The array is empty from now on, as a released memoryview is."""
        empty_out(view)


def empty_out(array: Any) -> None:
    """Make an array that nothing else refers to let go of its memory."""
    array.__setstate__((1, (0,), array.dtype, False, b""))


def _describe(array: numpy.ndarray[Any, Any], is_fortran: bool) -> bytes:
    dtype = array.dtype
    if dtype.hasobject:
        raise TypeError(f"an array of dtype {dtype} refers to Python objects, which stay here; use codec='pickle'")
    text = repr({"descr": _words(dtype), "fortran_order": is_fortran, "shape": array.shape})
    encoded = text.encode()
    if len(encoded) > literals.LONGEST - 2 * ALIGNMENT:
        raise TypeError(
            f"dtype {dtype} takes {len(encoded)} bytes to describe, and {literals.LONGEST - 2 * ALIGNMENT} are read; "
            "give its fields shorter names, or put it in parts"
        )
    end = padding(_PREFIX + len(encoded) + 1).replace(b"\0", b" ") + b"\n"
    header = _MAGIC + _LENGTH.pack(len(encoded) + len(end)) + encoded + end
    if len(_headers) >= _REMEMBERED:
        _headers.clear()
    _headers[dtype, array.shape, is_fortran] = header
    return header


def _words(dtype: numpy.dtype[Any]) -> Any:
    with contextlib.suppress(ValueError, TypeError):  # numpy warns of metadata; our own words have none
        bare = _dtype_of(_own_words(dtype))
        dtype = bare if bare == dtype else dtype
    try:
        words = numpy.lib.format.dtype_to_descr(dtype)
        if numpy.lib.format.descr_to_dtype(words) == dtype:
            return words
    except (ValueError, TypeError):
        pass
    words = _own_words(dtype)
    if _dtype_of(words) != dtype:
        raise TypeError(f"dtype {dtype!r} cannot be described in words; convert the array to one of numpy's own dtypes")
    return words


def _own_words(dtype: numpy.dtype[Any]) -> Any:
    if dtype.subdtype:
        base, shape = dtype.subdtype
        return (_own_words(base), shape)
    if dtype.names is None or dtype.fields is None:
        return dtype.str
    fields = [dtype.fields[name] for name in dtype.names]
    titles = [field[2] if len(field) > 2 else None for field in fields]
    return {
        "names": [*dtype.names],
        "formats": [_own_words(field[0]) for field in fields],
        "offsets": [field[1] for field in fields],
        **({"titles": titles} if any(titles) else {}),
        "itemsize": dtype.itemsize,
        "aligned": dtype.isalignedstruct,
    }


def _dtype_of(words: Any) -> numpy.dtype[Any]:
    made: numpy.dtype[Any] = numpy.dtype(words)
    return made


def _parse(header: bytes) -> tuple[numpy.dtype[Any], tuple[int, ...], bool]:
    if not header.startswith(_MAGIC):
        raise ValueError(f"this record does not begin as an array does: {header[:16]!r}")
    fields = literals.read(header[_PREFIX:].decode().strip())
    if not isinstance(fields, dict) or fields.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError(f"the header of an array has descr, fortran_order and shape, not {str(fields)[:64]}")
    words, shape, is_fortran = fields["descr"], fields["shape"], fields["fortran_order"]
    if not isinstance(shape, tuple) or len(shape) > 64 or not all(type(each) is int and each >= 0 for each in shape):
        raise ValueError(f"an array of shape {str(shape)[:64]}; a shape is a tuple of at most 64 lengths")
    _check_words(words)
    dtype = _dtype_of(words) if isinstance(words, dict) else numpy.lib.format.descr_to_dtype(words)
    if dtype.hasobject:
        raise ValueError(f"this record claims to hold Python objects (dtype {dtype})")
    layout = dtype, shape, is_fortran is True
    if len(header) <= _LONGEST_REMEMBERED:
        if len(_layouts) >= _REMEMBERED:
            _layouts.clear()
        _layouts[header] = layout
    return layout


def _check_words(words: Any) -> None:
    """ValueError for what is no description of a dtype as :func:`_words` makes them: numpy understands much more."""
    if isinstance(words, str) and _SCALAR.fullmatch(words):
        return
    if isinstance(words, tuple) and len(words) == 2:  # of a part that is an array itself, and its shape
        _check_words(words[0])
    elif isinstance(words, list) and all(isinstance(field, tuple) and 2 <= len(field) <= 3 for field in words):
        for field in words:
            _check_words(field[1])
    elif isinstance(words, dict) and words.keys() <= _OWN_WORDS and isinstance(words.get("formats"), list):
        for each in words["formats"]:
            _check_words(each)
    else:
        raise ValueError(f"this describes no dtype: {str(words)[:64]}")


CODEC = NumpyCodec()
