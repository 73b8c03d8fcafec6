"""A codec's name is stored in the ring: who attaches, and what is refused."""

import json
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest

import shmring


class Json:
    name = "json"

    def encode(self, value: Any, /) -> bytes:
        return json.dumps(value).encode()

    def decode(self, record: memoryview, /) -> Any:
        return json.loads(bytes(record))

    view = decode


@pytest.mark.parametrize("codec", ["pickle", "numpy", "arrow", "msgspec"])
def test_an_attacher_needs_no_argument(name, codec) -> None:
    pytest.importorskip("pyarrow" if codec == "arrow" else codec)
    with shmring.Ring.create(name, codec=codec), shmring.Ring.attach(name) as ring:
        assert ring.codec == codec
        assert shmring.inspect(name).codec == codec
    with shmring.Ring.open(name, codec=codec) as ring:
        assert ring.codec == codec


def test_a_ring_of_bytes_says_so(name) -> None:
    with shmring.Ring.create(name) as ring, shmring.Ring.attach(name, codec="bytes"):
        assert ring.codec == "bytes"


def test_another_codec_than_the_rings_is_refused(name) -> None:
    with shmring.Ring.create(name, codec="pickle"):
        for attach in (shmring.Ring.attach, shmring.Ring.open):
            for codec in ("numpy", "bytes", Json()):
                with pytest.raises(shmring.LayoutMismatch, match=r"are 'pickle', not.*leave codec= out"):
                    attach(name, codec=codec)


def test_a_codec_that_nobody_knows_is_refused_with_the_known_ones(name) -> None:
    with pytest.raises(ValueError, match=r"'yaml'.*'bytes'.*'arrow'.*'numpy'.*register"):
        shmring.Ring.create(name, codec="yaml")


def test_a_codec_of_ones_own_needs_three_lines(name) -> None:
    shmring.codecs.register(Json())
    with shmring.Ring.create(name, codec="json") as ring, shmring.Ring.attach(name) as other:
        ring.put({"a": 1})
        assert other.get() == {"a": 1}
        assert isinstance(Json(), shmring.codecs.Codec)


def test_a_process_that_does_not_know_the_codec_is_told_what_to_do(name) -> None:
    with shmring.Ring.create(name, codec=Json()):
        program = f"import shmring; shmring.Ring.attach({name!r})"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert "LayoutMismatch" in done.stderr
        assert "shmring.codecs.register" in done.stderr


def test_a_codec_that_is_none_is_refused() -> None:
    class NoView:
        name = "no-view"
        encode = decode = staticmethod(bytes)

    with pytest.raises(TypeError, match="lacks view"):
        shmring.codecs.register(NoView())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="lacks"):
        shmring.Ring.create(codec=7)  # type: ignore[arg-type]
    bad = Json()
    for name in ("", "with space", "x" * 64):
        bad.name = name
        with pytest.raises(ValueError, match="1 to 63 characters"):
            shmring.codecs.register(bad)
    for name in ("pickle", "bytes", "raw"):
        bad.name = name
        with pytest.raises(ValueError, match="built in"):
            shmring.codecs.register(bad)


def test_the_name_of_a_built_in_codec_is_not_for_another(name) -> None:
    imposter = Json()
    imposter.name = "pickle"
    for refused in (lambda: shmring.Ring.create(name, codec=imposter), lambda: shmring.codecs.register(imposter)):
        with pytest.raises(ValueError, match="'pickle' is built in"):
            refused()


def test_the_records_of_any_ring_can_be_had_raw(name) -> None:
    with (
        shmring.Ring.create(name, codec="pickle", on_dead_peer="wait") as ring,
        shmring.Ring.attach(name, codec="raw") as raw,
    ):
        ring.put({"a": 1})
        assert pickle.loads(raw.get()) == {"a": 1}
        raw.put(pickle.dumps("made elsewhere"))
        assert ring.get() == "made elsewhere"


def test_the_command_line_shows_records_raw(name) -> None:
    with shmring.Ring.create(name, codec=Json()) as ring:
        ring.put({"a": 1})
        done = subprocess.run([sys.executable, "-m", "shmring", "get", name, "--count", "1"], capture_output=True)
        assert done.stdout == b'{"a": 1}\n'


def test_a_handle_takes_its_codec_along(name) -> None:
    with shmring.Ring.create(name, codec="pickle") as ring, pickle.loads(pickle.dumps(ring)) as copy:
        copy.put({1})
        assert ring.get() == {1}
    with shmring.Ring.create(codec=Json()) as ring, pickle.loads(pickle.dumps(ring)) as copy:
        copy.put([1])
        assert ring.get() == [1]


@pytest.mark.parametrize(("codec", "package"), [("numpy", "numpy"), ("arrow", "pyarrow"), ("msgspec", "msgspec")])
def test_a_missing_package_is_named_with_the_way_to_get_it(codec, package) -> None:
    program = f"import sys; sys.modules[{package!r}] = None; import shmring; shmring.Ring.create(codec={codec!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f'pip install "shmring[{codec}]"' in done.stderr


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to give a ring to somebody else"
)
def test_pickles_of_another_user_are_refused_even_when_he_is_trusted(name) -> None:
    import pwd

    nobody = pwd.getpwnam("nobody").pw_uid
    for codec in ("pickle", "numpy"):
        with shmring.Ring.create(name, codec=codec, persist=True):
            os.chown(f"/dev/shm/shmring.{name}", nobody, -1)
        try:
            if codec == "numpy":
                shmring.Ring.attach(name, owner="nobody").close()
                continue
            for attach in (shmring.Ring.attach, shmring.Ring.open):
                with pytest.raises(PermissionError, match=r"could run anything.*belongs to user 'nobody'"):
                    attach(name, owner="nobody")
            shmring.Ring.attach(name, owner="nobody", codec="raw").close()
        finally:
            os.unlink(f"/dev/shm/shmring.{name}")


@pytest.mark.skipif(sys.platform == "win32", reason="about users and permission bits, which POSIX has")
def test_a_ring_of_pickles_is_not_opened_to_other_users(name) -> None:
    with pytest.raises(ValueError, match=r"0o666.*run code here"):
        shmring.Ring.create(name, codec="pickle", mode=0o666)
    shmring.Ring.create(name, codec="numpy", mode=0o666).close()
