"""The README does what it says: its snippets run, and the examples it shows are the files it names.

A comment before a fence says when it is not simply run: `<!-- not run: it installs something -->`, or
`<!-- examples/producer.py -->` for a file that stands there word for word and is run by test_examples.py.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"(?:^<!-- (?P<mark>.*?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


class Snippet(NamedTuple):
    mark: str | None
    language: str
    code: str
    line: int


def snippets() -> list[Snippet]:
    text = (ROOT / "README.md").read_text()
    return [
        Snippet(match["mark"], match["language"], match["code"], text[: match.start("code")].count("\n") + 1)
        for match in FENCE.finditer(text)
    ]


RUN = [snippet for snippet in snippets() if snippet.mark is None]
SHOWN = [snippet for snippet in snippets() if snippet.mark and not snippet.mark.startswith("not run: ")]


def by_line(snippet: Snippet) -> str:
    return f"line {snippet.line}"


@pytest.mark.parametrize("snippet", RUN, ids=by_line)
def test_a_snippet_runs(snippet, name, tmp_path):
    forks = "os.fork" in snippet.code or 'get_context("fork")' in snippet.code
    if sys.platform == "win32" and (snippet.language == "bash" or forks):
        pytest.skip("about a POSIX shell, or fork")
    # Under ring names of our own, so that two runs of the tests do not meet.
    code = re.sub(r"\b(ticks|numbers|frames)\b", lambda match: f"{name}-{match[0]}", snippet.code)
    command = {"python": [sys.executable, "-c", code], "bash": ["bash", "-euo", "pipefail", "-c", code]}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ended = subprocess.run(
        command[snippet.language],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    promised = [line.strip() for line in re.findall(r"# prints (.*)$", snippet.code, re.MULTILINE)]
    if promised:
        assert ended.stdout.splitlines() == promised


@pytest.mark.parametrize("snippet", SHOWN, ids=by_line)
def test_an_example_is_shown_word_for_word(snippet):
    assert (ROOT / snippet.mark).read_text() == snippet.code


def test_the_readme_shows_both_first_examples():
    assert {"examples/producer.py", "examples/consumer.py"} <= {snippet.mark for snippet in SHOWN}


def test_every_file_the_readme_links_to_exists():
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / "README.md").read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []
