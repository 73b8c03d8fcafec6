"""Every example runs: as separate programs that find each other by name."""

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("example", ["producer.py", "consumer.py"])
def test_the_first_examples_are_at_most_five_lines(example):
    lines = (EXAMPLES / example).read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 5
