"""The public names and what they are called with: a change of these is a change for users, and made on purpose."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import shmring
from tests.face.public import MODULES, public, written_down

WRITTEN = Path(__file__).with_name("signatures.txt")
linux = pytest.mark.skipif(sys.platform != "linux", reason="written down for Linux: segments differ")


@linux
def test_the_public_names_and_signatures_are_those_that_were_written_down() -> None:
    now, then = written_down().splitlines(), WRITTEN.read_text().splitlines()
    gone, new = [each for each in then if each not in now], [each for each in now if each not in then]
    assert (gone, new) == ([], []), "if that is meant: python tests/face/public.py > tests/face/signatures.txt"


def test_the_written_names_are_all_there_is_to_export() -> None:
    top = {each.name for each in public() if "." not in each.name} - {"Lease", "AsyncLease"}
    assert top == {*shmring.__all__, "list"} - {"codecs", "segment"}
    assert shmring.__all__ == sorted(shmring.__all__)


def test_a_star_import_puts_nothing_in_the_place_of_a_builtin() -> None:
    import builtins

    for module in MODULES:
        assert not {*module.__all__} & {*vars(builtins)}


def test_a_module_shows_its_public_names_only() -> None:
    for module in MODULES:
        shown = {name for name in dir(module) if not name.startswith("_")}
        assert shown == {*module.__all__} | ({"list"} if module is shmring else set())


def test_every_parameter_has_a_name() -> None:
    takes_anything = {"Ring", "Topic", "Latest", "Subscription"}  # to say which call was meant
    takes_anything |= {"Pipeline.source", "ProcessPoolExecutor.submit", "ProcessPoolExecutor.map"}  # the user's own
    anything = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    found = {
        each.name
        for each in public()
        if each.signature and anything & {one.kind for one in inspect.signature(each.what).parameters.values()}
    }
    assert found == takes_anything


CALLS = {
    "Ring('jobs')": "use Ring.create, attach or open, such as shmring.Ring.open('jobs')",
    "Ring('jobs', timeout=3)": "use Ring.create, attach or open, such as shmring.Ring.attach('jobs', timeout=3)",
    "Ring('jobs', capazity=3)": "use Ring.create, attach or open, such as shmring.Ring.open('jobs')",
    "Ring('jobs', '1 MiB', kind='spsc')": "such as shmring.Ring.open('jobs', '1 MiB', kind='spsc')",
    "Topic('x')": "use Topic.create, attach or open, such as shmring.Topic.open('x')",
    "Latest()": "use Latest.create, attach or open, such as shmring.Latest.create()",
    "Subscription('x')": "topic.subscribe()",
    "Queue('jobs')": "shmring.Queue(name=...)",
    "JoinableQueue('jobs')": "shmring.JoinableQueue(name=...)",
    "Ring.create().put({})": 'to put objects, create it with codec="pickle"',
    "Topic.create().publish('x')": 'encode text first: text.encode(); or to put objects, create it with codec="pickle"',
    "Pipeline().source([1]).stage(abs, n_workers=2)": "n_workers",
    "Latest.create().set(b'x', timeout=1)": "timeout",
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_was_not_meant_says_which_was(call: str) -> None:
    with pytest.raises(TypeError) as caught:
        eval(f"shmring.{call}", {"shmring": shmring})  # noqa: S307 - it stands above
    assert CALLS[call] in str(caught.value)
    caught = None


def test_a_parameter_for_the_type_of_messages_changes_nothing_at_run_time() -> None:
    with shmring.Ring[bytes].create() as ring, shmring.Topic[bytes].create() as topic:
        assert type(ring) is shmring.Ring
        assert type(topic.subscribe()) is shmring.Subscription
    with shmring.Queue[int]() as queue, shmring.JoinableQueue[int](), shmring.SimpleQueue[int]():
        queue.put(1)
        assert queue.get() == 1
    for generic in (
        shmring.Latest[float],
        shmring.Producer[bytes],
        shmring.Consumer[bytes],
        shmring.Subscription[bytes],
    ):
        assert generic.__args__ in ((float,), (bytes,))


TYPED = """
from collections.abc import Iterator
import shmring
from typing import assert_type

ring = shmring.Ring[bytes].create("typed")
assert_type(ring, shmring.Ring[bytes])
assert_type(ring.get(), bytes)
assert_type(ring.get_many(), list[bytes])
assert_type(next(iter(ring)), bytes)
assert_type(ring.consumer().get(), bytes)
for message in ring.consumer():
    assert_type(message, bytes)
iterator: Iterator[bytes] = iter(ring.consumer())
with ring.claim(3) as buffer:
    assert_type(buffer, memoryview)

topic = shmring.Topic[str].open("typed", codec="pickle")
assert_type(topic.subscribe().get(), str)
latest = shmring.Latest[float].attach("typed")
assert_type(latest.get(), float)
assert_type(latest.get_versioned(), tuple[int, float])
queue = shmring.Queue[int](5)
assert_type(queue.get(), int)
queue.put(5)
shmring.Ring.create().put("anything goes where nothing is said")

pool = shmring.ProcessPoolExecutor()
shmring.ProcessPoolExecutor(2, initializer=print, initargs=("hello", 5))
assert_type(pool.submit(divmod, 1, 2).result(), tuple[int, int])
def parse(line: str) -> int: return len(line)
pipeline = shmring.Pipeline().source(["a"]).stage(parse, workers=2)
assert_type(pipeline.run(), list[int] | None)

async def wait() -> None:
    assert_type(await ring.aget(), bytes)
    async for each in ring:
        assert_type(each, bytes)
    assert_type(await latest.aget(), float)
    assert_type(await queue.aget(), int)
"""
WRONG = [
    "ring.put(5)",
    "topic.publish(5)",
    "latest.set('5')",
    "latest.set(1.0, timeout=5)",
    "queue.put('5')",
    "pool.submit(parse, 5)",
    "pool.submit(parse)",
    "shmring.Pipeline().source([5]).stage(parse)",
    "pipeline.stage(abs, n_workers=2)",
    "pipeline.stage(abs, initializer=parse, initargs=(5,))",
    "shmring.ProcessPoolExecutor(initializer=parse, initargs=(5,))",
    "shmring.Ring('typed')",
]


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_see_what_goes_in_come_out(checker: str, tmp_path: Path) -> None:
    pytest.importorskip(checker, reason="a type checker of the group lint")
    first = TYPED.count("\n") + 1
    program = tmp_path / "typed.py"
    program.write_text(TYPED + "\n".join(WRONG) + "\n")
    options = {"mypy": ["--strict", "--no-error-summary"], "pyright": ["--pythonpath", sys.executable]}[checker]
    command = [sys.executable, "-m", checker, *options, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    wrong = {int(line.split(":")[1]) for line in done.stdout.splitlines() if "typed.py:" in line and "error" in line}
    assert wrong == {first + number for number in range(len(WRONG))}, done.stdout + done.stderr
