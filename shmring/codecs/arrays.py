"""numpy arrays: a record is what ``numpy.save`` writes, with the data on a boundary of 64 bytes.

So any program that reads .npy files can read the records. Only dtypes that this format has no words for (structured
ones whose fields overlap or are out of order) are described in numpy's own, as the argument of ``numpy.dtype``.
"""

from __future__ import annotations

import ast
import contextlib
import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy

from shmring.codecs.protocol import NamedCodec, padding

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MAGIC = b"\x93NUMPY\x03\x00"
_LENGTH = struct.Struct("<I")
_PREFIX = len(_MAGIC) + _LENGTH.size
_REMEMBERED = 256  # headers; a stream of arrays mostly has few shapes

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
        header = bytes(record[:begin])
        dtype, shape, is_fortran = _layouts.get(header) or _parse(header)
        count = math.prod(shape)
        order: Literal["F", "C"] = "F" if is_fortran else "C"
        if not count or not dtype.itemsize:
            return numpy.empty(shape, dtype, order)
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
    fields = ast.literal_eval(header[_PREFIX:].decode().strip())
    words = fields["descr"]
    dtype = _dtype_of(words) if isinstance(words, dict) else numpy.lib.format.descr_to_dtype(words)
    if dtype.hasobject:
        raise ValueError(f"this record claims to hold Python objects (dtype {dtype})")
    layout = dtype, tuple(fields["shape"]), bool(fields["fortran_order"])
    if len(_layouts) >= _REMEMBERED:
        _layouts.clear()
    _layouts[header] = layout
    return layout


CODEC = NumpyCodec()
