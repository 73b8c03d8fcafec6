"""Arrow tables and batches."""

import pytest

import shmring

pyarrow = pytest.importorskip("pyarrow")

TABLE = pyarrow.table(
    {
        "number": pyarrow.array([1, None, 3]),
        "text": ["a", "bc", None],
        "list": [[1], [], None],
        "kind": pyarrow.array(["x", "y", "x"]).dictionary_encode(),
    }
)
VALUES = {
    "table": TABLE,
    "table in chunks": pyarrow.concat_tables([TABLE, TABLE]),
    "empty table": TABLE.slice(0, 0),
    "sliced": TABLE.slice(1, 1),
    "no columns": pyarrow.table({}),
    "batch": TABLE.to_batches()[0],
    "empty batch": TABLE.to_batches()[0].slice(0, 0),
    "metadata": TABLE.replace_schema_metadata({"who": "me"}),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_table_or_batch_comes_out_as_it_went_in(make, value) -> None:
    ring = make("arrow")
    ring.put(value)
    got = ring.get()
    assert type(got) is type(value)
    assert got.equals(value, check_metadata=True)
    ring.put(value)
    with ring.borrow() as view:
        assert view.equals(value)
        del view


def test_a_borrowed_table_lies_in_the_ring_itself(make) -> None:
    ring = make("arrow")
    before = pyarrow.total_allocated_bytes()
    ring.put(pyarrow.table({"number": range(10_000)}))
    with ring.borrow() as view:
        assert pyarrow.total_allocated_bytes() - before < 10_000
        column = view["number"].chunk(0).buffers()[1]
        assert column.size >= 80_000
        del view, column


def test_a_table_that_is_alive_after_its_block_raises_and_stays_valid(make) -> None:
    ring = make("arrow")
    ring.put(TABLE)
    with pytest.raises(BufferError, match="still in use"), ring.borrow() as view:
        column = view["number"]
    del view
    assert column.to_pylist() == [1, None, 3]
    del column
    assert ring.stats().taken == 0


def test_a_got_table_does_not_keep_the_ring(make) -> None:
    ring = make("arrow")
    ring.put(TABLE)
    got = ring.get()
    ring.close()
    assert got.equals(TABLE)


def test_a_record_is_an_arrow_stream(make) -> None:
    ring = make("arrow")
    ring.put(TABLE)
    assert pyarrow.ipc.open_stream(ring.skip()).read_all().equals(TABLE)


def test_what_is_no_table_is_refused_at_put(make) -> None:
    ring = make("arrow")
    with pytest.raises(TypeError, match="RecordBatch or Table"):
        ring.put({"a": 1})


def test_a_record_that_is_no_stream_is_a_decode_error(name) -> None:
    with (
        shmring.Ring.create(name, codec="arrow", on_dead_peer="wait") as ring,
        shmring.Ring.attach(name, codec="raw") as raw,
    ):
        for record in (b"", b"rubbish", bytes(100)):
            raw.put(record)
            with pytest.raises(shmring.DecodeError) as error:
                ring.get()
            assert ring.skip(error.value) == record
