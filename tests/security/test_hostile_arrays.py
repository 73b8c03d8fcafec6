"""What a stranger may put into a ring of arrays: a header is read within bounds, and nothing in it is evaluated."""

import ast
import contextlib
import resource
import struct
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from two_users import STRANGER, VICTIM, AsUser

import shmring
from shmring.codecs import literals
from shmring.codecs.arrays import _LENGTH, _MAGIC, CODEC


def header(descr: str = "'<u1'", shape: str = "(1,)", fortran: str = "False") -> str:
    return f"{{'descr':{descr},'fortran_order':{fortran},'shape':{shape}}}"


HOSTILE = {
    "parentheses in one another": "(" * 100000 + ")" * 100000,
    "brackets in one another": "[" * 200 + "]" * 200,
    "a minus for ever": "-" * 200000 + "1",
    "not for ever": "not " * 50000 + "1",
    "a minus in the shape": header(shape="(" + "-" * 100000 + "1,)"),
    "more digits than a length has": header(shape="(" + "9" * 4000 + ",)"),
    "more dimensions than there are": header(shape="(" + "1," * 70 + ")"),
    "many items of no bytes": header("'|S0'", "(1099511627776,)"),
    "no item of many bytes": header("'|V2147483647'", "(0,)"),
    "a product of lengths": header(shape="(4294967296,4294967296)"),
    "a negative length": header(shape="(-1,)"),
    "a list of lengths": header(shape="[1]"),
    "a length that is a truth": header(shape="(True,)"),
    "dtypes in one another": header("[('a'," * 80 + "'<u1'" + ")]" * 80),
    "a dtype that numpy evaluates": header("'(2,2)i4,' * 2"),
    "a dtype that numpy takes apart": header("'(1000000,1000000)i4,i4'"),
    "a dtype by its name": header("'float'"),
    "a field far outside": header("{'names':['a'],'formats':['<u8'],'offsets':[1000000000],'itemsize':8}"),
    "a field before the beginning": header("{'names':['a'],'formats':['<u8'],'offsets':[-8],'itemsize':8}"),
    "a field by its name": header("{'a':('<u8',0)}"),
    "a huge item": header("'|V2147483647'", "(1000000000,)"),
    "objects": header("'|O'", "(8,)"),
    "objects in a field": header("{'names':['a'],'formats':['|O']}", "(8,)"),
    "a call": header("__import__('os')"),
    "an f-string": header("f'{1}'"),
    "one key too many": header()[:-1] + ",'x':1}",
    "a key that is none": "{(): 1}",
    "no text": "\udcff",
    "an escape that is none": header(r"'\N{DASH}'"),
    "a character that is none": header(r"'\U00ffffff'"),
}


def record(text: str) -> bytes:
    encoded = text.encode(errors="surrogateescape")
    return _MAGIC + _LENGTH.pack(len(encoded)) + encoded + bytes(64)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_header_is_an_error_at_once(name: str, text: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    with (
        shmring.Ring.create(name, codec="numpy", capacity="2 MiB", on_dead_peer="wait") as ring,
        shmring.Ring.attach(name, codec="raw") as raw,
    ):
        raw.put(record(text))
        resource.setrlimit(resource.RLIMIT_AS, (in_use + (256 << 20), limits[1]))
        try:
            with pytest.raises(shmring.DecodeError) as error:
                ring.get(timeout=1)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        assert isinstance(error.value.__cause__, (ValueError, TypeError)), repr(error.value.__cause__)
        assert len(str(error.value)) < 1000
        assert ring.skip(error.value) == record(text)


def test_a_length_of_the_header_beyond_the_record_is_refused() -> None:
    for length in (65, 2**32 - 1):
        with pytest.raises(ValueError, match="in a record of 76"):
            CODEC.decode(memoryview(_MAGIC + _LENGTH.pack(length) + bytes(64)))


def test_what_is_read_is_what_python_would_read() -> None:
    for text in ("{'a': (1, -2), \"b'\": [True, None, ('x',)], '\\x00\\u1234\\'\\\\': ()}", "(3)", "[]", "{}", " 'a' "):
        assert literals.read(text) == ast.literal_eval(text.strip())


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(values)
@settings(deadline=None)
def test_whatever_python_writes_is_read(value: object) -> None:
    assert literals.read(repr(value)) == value


@given(st.text("()[]{}'\",:\\ -1aTrue\n", max_size=60))
@settings(deadline=None)
def test_anything_else_is_a_value_error(text: str) -> None:
    try:
        value = literals.read(text)
    except ValueError:
        return
    assert repr(value) == repr(ast.literal_eval(text.strip()))


@given(st.binary(max_size=200), st.integers(0, 120))
@settings(deadline=None)
def test_a_changed_record_is_an_array_or_an_error(noise: bytes, at: int) -> None:
    whole = bytearray(b"".join(bytes(part) for part in CODEC.encode(numpy.ones(9, [("a", "<i4"), ("b", "S3")]))))
    whole[at : at + len(noise)] = noise
    with contextlib.suppress(ValueError, TypeError, KeyError, struct.error):
        CODEC.decode(memoryview(whole))


def test_a_dtype_too_long_to_be_read_is_refused_at_put(name: str) -> None:
    with shmring.Ring.create(name, codec="numpy", capacity="4 MiB") as ring:
        fields = [(f"{'x' * 100}{number}", "u1") for number in range(2000)]
        ring.put(numpy.ones(1, fields))
        assert ring.get().dtype == fields
        with pytest.raises(TypeError, match=r"bytes to describe.*are read"):
            ring.put(numpy.ones(1, [(f"{'x' * 100}{number}", "u1") for number in range(3000)]))


def test_arrays_of_another_user_are_read(as_user: AsUser, name: str, path: Path) -> None:
    made = f"import shmring, numpy; ring = shmring.Ring.create({name!r}, codec='numpy', mode=0o666); "
    assert as_user(STRANGER, made + "ring.put(numpy.arange(3)); ring.close()") == ""
    try:
        got = f"import shmring; print(shmring.Ring.attach({name!r}, owner={STRANGER}).get())"
        assert as_user(VICTIM, got) == "[0 1 2]\n"
    finally:
        path.unlink(missing_ok=True)
