"""Arrays: every dtype and shape, in and out as they are."""

import io

import numpy
import pytest

import shmring

structured = numpy.dtype([("id", "<i8"), ("when", "<M8[us]"), ("nested", [("x", ">f4"), ("y", "S3", (2, 2))])])
aligned = numpy.dtype([("a", "i1"), ("b", "f8")], align=True)
overlapping = numpy.dtype({"names": ["a", "b"], "formats": ["<u4", "<u2"], "offsets": [0, 2], "itemsize": 8})

ARRAYS = {
    "one dimension": numpy.arange(1000),
    "three": numpy.arange(24, dtype="int16").reshape(2, 3, 4),
    "fortran": numpy.asfortranarray(numpy.arange(12.0).reshape(3, 4)),
    "transposed": numpy.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
    "sliced": numpy.arange(100).reshape(10, 10)[::2, 1::3],
    "reversed": numpy.arange(10)[::-1],
    "broadcast": numpy.broadcast_to(numpy.float32(2), (3, 4)),
    "0-d": numpy.array(5.5),
    "scalar": numpy.float32(3),
    "empty": numpy.zeros(0),
    "empty in a dimension": numpy.zeros((3, 0, 2), order="F"),
    "big-endian": numpy.arange(5, dtype=">i4"),
    "complex": numpy.arange(5) * 1j,
    "half": numpy.arange(5, dtype="f2"),
    "bool": numpy.arange(5) % 2 == 0,
    "dates": numpy.array(["2020-01-01", "NaT"], "M8[25s]"),
    "durations": numpy.arange(3).astype("m8[D]"),
    "text": numpy.array(["abc", "äöü"]),
    "bytes": numpy.array([b"abc", b"d"]),
    "bytes of no length": numpy.zeros(3, "S0"),
    "void": numpy.zeros(3, "V5"),
    "structured": numpy.zeros(3, structured),
    "aligned": numpy.ones(3, aligned),
    "overlapping fields": numpy.ones(3, overlapping),
    "some fields": numpy.ones(3, structured)[["id", "nested"]],
    "a record array": numpy.zeros(2, [("x", "i4")]).view(numpy.recarray),
}
if numpy.dtype("longdouble").itemsize > 8:  # where it is a type of its own
    ARRAYS["long double"] = numpy.arange(5, dtype="longdouble")


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_an_array_comes_out_as_it_went_in(make, array) -> None:
    ring = make("numpy")
    for _ in range(2):  # its header is remembered
        ring.put(array)
        got = ring.get()
        assert type(got) is numpy.ndarray
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        assert repr(got.tolist()) == repr(array.tolist())  # what lies between fields is nobody's
        assert got.flags.writeable
        assert got.flags.owndata
    ring.put(array)
    with ring.borrow() as view:
        assert (view.dtype, view.shape) == (array.dtype, array.shape)
        assert repr(view.tolist()) == repr(array.tolist())
        assert view.nbytes == 0 or not view.flags.writeable
        assert view.nbytes == 0 or view.ctypes.data % 64 == 0
    assert ring.stats().taken == 0


def test_the_order_in_memory_is_kept(make) -> None:
    ring = make("numpy")
    ring.put(numpy.asfortranarray(numpy.ones((3, 4))))
    ring.put(numpy.ones((3, 4)))
    assert [array.flags.f_contiguous for array in ring.get_many()] == [True, False]


@pytest.mark.parametrize("name", ["one dimension", "fortran", "structured", "dates", "0-d"])
def test_a_record_is_an_npy_file(make, name) -> None:
    ring = make("numpy")
    ring.put(ARRAYS[name])
    loaded = numpy.load(io.BytesIO(ring.skip()))
    assert loaded.dtype == ARRAYS[name].dtype
    assert loaded.tobytes() == ARRAYS[name].tobytes()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (numpy.array([{}, None]), "refers to Python objects.*codec='pickle'"),
        (numpy.zeros(2, [("a", "i4"), ("b", "O")]), "refers to Python objects"),
        (numpy.ma.masked_array([1, 2], [True, False]), "lose the mask"),
        ([1, 2], "takes arrays, not.*numpy.asarray"),
        (b"bytes", "takes arrays"),
    ],
)
def test_what_is_no_array_of_plain_values_is_refused_at_put(make, value, words) -> None:
    ring = make("numpy")
    with pytest.raises(TypeError, match=words):
        ring.put(value)
    assert ring.stats().claimed == 0


def test_an_array_too_large_for_the_ring_says_so(make) -> None:
    ring = make("numpy")
    with pytest.raises(shmring.MessageTooLong, match="524288"):
        ring.put(numpy.zeros(10**6))


def test_a_view_is_empty_after_its_block_and_one_that_is_kept_raises(make) -> None:
    ring = make("numpy")
    ring.put(numpy.arange(100))
    with ring.borrow() as view:
        pass
    assert view.shape == (0,)
    ring.put(numpy.arange(100))
    kept = []
    with pytest.raises(BufferError), ring.borrow() as view:
        kept.append(view)
    assert kept[0][99] == 99
    kept.clear()
    del view
    ring.put(numpy.arange(3))
    assert ring.get().sum() == 3


def test_a_record_that_claims_to_hold_objects_is_refused(name) -> None:
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(115) + "\n"
    forged = b"\x93NUMPY\x03\x00" + len(header).to_bytes(4, "little") + header.encode() + bytes(8)
    with (
        shmring.Ring.create(name, codec="numpy", on_dead_peer="wait") as ring,
        shmring.Ring.attach(name, codec="raw") as raw,
    ):
        for record in (forged, b"", b"\x93NUMPY", forged[:60], bytes(200)):
            raw.put(record)
            with pytest.raises(shmring.DecodeError) as error:
                ring.get()
            assert ring.skip(error.value) == record


@pytest.mark.filterwarnings("error")
def test_metadata_of_a_dtype_stays_behind_without_a_warning(make) -> None:
    ring = make("numpy")
    marked = numpy.dtype("i4", metadata={"unit": "m"})
    inside = numpy.dtype([("x", marked), ("y", marked, (2,))])
    titled = numpy.dtype([(("a title", "x"), marked)])
    for number, dtype in enumerate((marked, inside, titled)):
        array = numpy.ones(3 + number, dtype)
        ring.put(array)
        got = ring.get()
        assert got.dtype == dtype
        assert got.dtype.metadata is None
        assert got.tobytes() == array.tobytes()
    assert got.dtype.fields["x"][2] == "a title"
