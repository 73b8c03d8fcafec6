"""The ways in which a program is run: each takes a program's text and an environment, and returns what it printed."""

import ast
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Environment = dict[str, str]
SECONDS = 100


def statements(program: Path) -> Iterator[str]:
    """One after the other, as they are typed; without blank lines, which end a block at a prompt."""
    for each in ast.parse(program.read_text()).body:
        yield "\n".join(line for line in ast.unparse(each).splitlines() if line.strip()) + "\n\n"


def _run(command: list[str], environment: Environment, given: str | None = None) -> str:
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            said, complaints = process.communicate(given, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert said, complaints
    return said


def script(program: Path, environment: Environment) -> str:
    return _run([sys.executable, str(program)], environment)


def piped(program: Path, environment: Environment) -> str:
    """Python reads all of it from its standard input."""
    return _run([sys.executable, "-"], environment, program.read_text())


def prompt(program: Path, environment: Environment) -> str:
    """Statement by statement, as somebody types them."""
    return _run([sys.executable, "-i", "-q"], environment, "".join(statements(program)))


def dash_c(program: Path, environment: Environment) -> str:
    return _run([sys.executable, "-c", program.read_text()], environment)


def notebook(program: Path, environment: Environment) -> str:
    """In a Jupyter kernel, a cell for each statement."""
    for package in ("jupyter_client", "ipykernel"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: make test-programs has it")
    return _run([sys.executable, str(Path(__file__).with_name("notebook.py")), str(program)], environment)


WAYS: dict[str, Callable[[Path, Environment], str]] = {
    "a script": script,
    "a pipe": piped,
    "a prompt": prompt,
    "-c": dash_c,
}


# What is found by following imports, the optional ones too, and takes a minute to look at.
_NOT_NEEDED = ("IPython", "black", "distributed", "gevent", "loky", "numpy.f2py", "pyarrow", "setuptools", "uvloop")

# A frozen program that starts itself again and again would not end by itself.
_NOT_DEEP = """
import os
if int(os.environ.get("FROZEN_DEPTH", "0")) > 3:
    os.write(2, b"this program has started itself within itself")
    os._exit(70)
os.environ["FROZEN_DEPTH"] = str(int(os.environ.get("FROZEN_DEPTH", "0")) + 1)
import multiprocessing
"""


def freeze(program: Path, folder: Path) -> Path:
    """A folder with the program, its Python and all that it imports; the program in it."""
    if importlib.util.find_spec("PyInstaller") is None:
        pytest.skip("PyInstaller is not installed: make test-programs has it")
    text = program.read_text()
    guard = 'if __name__ == "__main__":\n'
    assert text.count(guard) == 1
    source = folder / program.name
    source.write_text(_NOT_DEEP + text.replace(guard, f"{guard}    multiprocessing.freeze_support()\n"))
    command = [sys.executable, "-m", "PyInstaller", "--onedir", "--noconfirm", "--log-level", "ERROR"]
    for each in _NOT_NEEDED:
        command += "--exclude-module", each
    subprocess.run([*command, "--distpath", str(folder / "dist"), str(source)], check=True, cwd=folder)
    return folder / "dist" / program.stem / program.stem


def frozen(made: Path, environment: Environment) -> str:
    return _run([str(made)], environment)
