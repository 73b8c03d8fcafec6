"""Every example runs: as separate programs that find each other by name."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import shmring

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def started(example: str, name: str, tmp_path: Path) -> "subprocess.Popen[str]":
    """Start an example under a ring name of our own, so that two runs of the tests do not meet."""
    program = tmp_path / example
    program.write_text((EXAMPLES / example).read_text().replace('"greetings"', repr(name)))
    return subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("order", [("producer.py", "consumer.py"), ("consumer.py", "producer.py")])
def test_producer_and_consumer_meet_whoever_starts_first(name, tmp_path, order):
    running = {example: started(example, name, tmp_path) for example in order}
    said = {example: program.communicate()[0] for example, program in running.items()}
    assert [program.returncode for program in running.values()] == [0, 0]
    assert said["consumer.py"].splitlines() == [f"hello {number}" for number in range(10)]


def test_an_event_loop_takes_what_the_producer_puts(name, tmp_path):
    running = {example: started(example, name, tmp_path) for example in ("async_consumer.py", "producer.py")}
    said = {example: program.communicate()[0] for example, program in running.items()}
    assert [program.returncode for program in running.values()] == [0, 0]
    *greetings, last = said["async_consumer.py"].splitlines()
    assert sorted(greetings) == [f"hello {number}" for number in range(10)]
    assert last == "10 messages"


@pytest.mark.skipif(sys.platform != "linux", reason="compiles it with os/linux.c")
def test_a_c_program_takes_what_python_put(name, tmp_path):
    source = shutil.copy(EXAMPLES / "consumer.c", tmp_path)
    command = re.search(r"gcc (?:.*\\\n)*.*", Path(source).read_text())[0].replace("\n *", "\n")  # as its comment says
    build = {**os.environ, "CORE": shmring.get_include()}
    subprocess.run(["bash", "-c", f"{command} -Wall -Werror"], check=True, cwd=tmp_path, env=build)
    program = tmp_path / "consumer"
    with shmring.Ring.create(name) as ring:
        ring.put_many([b"from Python", b"to C"])
        ring.shutdown()
    done = subprocess.run([program, name], capture_output=True, text=True, check=True)
    assert done.stdout == "from Python\nto C\n"
    assert not Path(f"/dev/shm/shmring.{name}").exists()


def test_the_numpy_pipeline_passes_every_frame_on():
    done = subprocess.run([sys.executable, EXAMPLES / "numpy_pipeline.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "50 frames, brightness 2450\n"


def test_the_camera_and_its_readers(name):
    pytest.importorskip("numpy")
    command = [sys.executable, EXAMPLES / "camera_topic.py", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=EXAMPLES)
    said = {
        line.split()[0]: [int(word.strip(",")) for word in line.split() if word.strip(",").isdigit()]
        for line in done.stdout.splitlines()
    }
    assert sum(said["shown"]) == 200
    seen, missed, together = said["slow:"]
    assert (seen + missed, together) == (200, 200)
    assert not Path(f"/dev/shm/shmring.{name}").exists()


@pytest.mark.parametrize("example", ["producer.py", "consumer.py"])
def test_the_first_examples_are_at_most_five_lines(example):
    lines = (EXAMPLES / example).read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 5


def output_of(example: str, *arguments: str) -> str:
    command = [sys.executable, EXAMPLES / example, *arguments]
    # Not in the checkout, whose shmring/ would hide the installed one from workers that look where they are started.
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=EXAMPLES)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.slow
def test_the_word_index_is_what_a_plain_loop_finds():
    assert output_of("word_index.py", "--check").endswith("the plain loop found the same\n")


def test_the_word_index_takes_any_folder(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.py").write_text("apple " * number + "pear")
    said = output_of("word_index.py", str(tmp_path), "apple", "--check").splitlines()
    assert said[0] == "30 files, 2 words"
    assert said[1] == f"apple: 29 times in {tmp_path / '29.py'}"


@pytest.mark.parametrize("where", [["--here"], []], ids=["here", "dask"])
def test_one_argument_moves_a_stage_to_dask(where):
    if not where:
        pytest.importorskip("distributed", reason="Dask's distributed is not installed")
    assert output_of("dask_stage.py", *where).startswith("sum of roots 21065.833, 1000 done by ")


def test_an_adapter_of_one_method_moves_a_stage_to_ray():
    pytest.importorskip("ray", reason="Ray is not installed (70 MB): pip install ray")
    assert output_of("ray_stage.py") == "sum of roots 21065.833\n"
