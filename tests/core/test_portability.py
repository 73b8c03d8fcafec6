"""The algorithms on other machines: compiled for them, run under an emulator, and read in their assembly language.

An emulator on this machine shows 32-bit words, another byte order and other instructions for the atomics, but not a
weaker memory model: that the orderings reach the instructions is read from the assembly, and that they are the right
ones is shown elsewhere.
"""

import platform
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sources import CORE, source

pytestmark = pytest.mark.verify

HERE = Path(__file__).resolve().parent
ALGORITHMS = ("geometry.c", "spsc.c", "mpmc.c", "line.c", "repair.c", "topic.c", "latest.c")
COMMON = ("-O2", "-std=gnu11", f"-I{CORE}")

MACHINES = {
    "aarch64": ("aarch64-linux-gnu-gcc", "qemu-aarch64-static"),
    "armhf": ("arm-linux-gnueabihf-gcc", "qemu-arm-static"),
    "i686": ("i686-linux-gnu-gcc", "qemu-i386-static"),
    "s390x": ("s390x-linux-gnu-gcc", "qemu-s390x-static"),
}

# Acquire loads, release stores, the two halves of each compare-and-swap or addition, and full fences.
ORDERED = re.compile(r"^\s+(lda[px]?r|stlx?r|dmb)\b", re.MULTILINE)
# Nothing is inlined or duplicated, so that each of these is one access in the source.
ASSEMBLE = (*COMMON, "-S", "-march=armv8-a", "-mno-outline-atomics", "-fno-inline", "-fno-thread-jumps")
PINNED = {
    "spsc.c": {"ldar": 5, "stlr": 2, "stlxr": 1, "dmb": 1},
    "mpmc.c": {"ldar": 18, "ldaxr": 5, "stlxr": 9, "dmb": 1},
    # no explorer looks at these
    "attach.c": {"ldar": 15, "ldaxr": 8, "stlr": 9, "stlxr": 8, "dmb": 1},
    "queue.c": {"ldar": 18, "stlxr": 1, "dmb": 1},
    "links.c": {"ldar": 15, "stlr": 2, "dmb": 1},
    "growth.c": {"ldar": 3, "stlr": 3, "dmb": 1},
}
OF_HEADERS = {"queue.c": 1}  # ldar: in blocking.h, whose functions are in every file that uses them
# What an access is ordered by, and what it loses when somebody weakens it by one step.
ORDER = re.compile(r"(?<=\s)(acquire|release|acq_rel)(?=\))")
WEAKER = {"acquire": ("relaxed",), "release": ("relaxed",), "acq_rel": ("acquire", "release")}


def tool(name: str) -> str:
    """The program's path; a part of the programme that cannot run has failed."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is missing: `make verify` installs it, or says what to install")
    return path


def cross_compiler(name: str) -> str:
    """A compiler's path; Debian has each machine's C library in a package of its own."""
    path = tool(name)
    library = subprocess.run([path, "-print-file-name=libc.a"], capture_output=True, text=True, check=True).stdout
    if not Path(library.strip()).is_absolute():
        pytest.fail(f"{name} has no C library (libc6-dev-*-cross): `make verify` installs it, or says what to install")
    return path


def run(command: list[str], **options: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def build(compiler: str, program: Path, *flags: str) -> None:
    sources = [str(HERE / "portability.c"), *(str(source(name)) for name in ALGORITHMS)]
    made = run([compiler, *COMMON, *flags, "-Wall", "-Werror", "-pthread", "-o", str(program), *sources])
    assert made.returncode == 0, made.stderr


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the driver prints on this machine."""
    program = tmp_path_factory.mktemp("native") / "portability"
    build(tool("gcc"), program)
    outcome = run([str(program)], timeout=600)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


@pytest.mark.parametrize("machine", MACHINES)
def test_the_algorithms_do_on_another_machine_what_they_do_here(
    machine: str, native: str, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    compiler, emulator = MACHINES[machine]
    program = tmp_path / "portability"
    build(cross_compiler(compiler), program, "-static")
    begin = time.monotonic()
    outcome = run([tool(emulator), str(program)], timeout=600)
    seconds = time.monotonic() - begin
    assert outcome.returncode == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    assert lines[-1] == "ok"
    offsets = [line for line in lines if line.startswith("offset ")]
    assert len(offsets) == 32
    assert lines == native.splitlines()
    messages = sum(int(count) for count in re.findall(r": (\d+) messages", outcome.stdout))
    here = platform.machine()
    figure(f"{machine}: {messages} messages in {seconds:.1f} s, {len(offsets)} offsets and all else as on {here}")


def test_a_machine_without_lock_free_8_byte_atomics_is_refused(figure: Callable[[str], None]) -> None:
    compiler = cross_compiler("powerpc-linux-gnu-gcc")
    outcome = run([compiler, *COMMON, "-fsyntax-only", str(source("spsc.c"))])
    assert outcome.returncode != 0
    assert "lock-free 8-byte atomics" in outcome.stderr
    assert outcome.stderr.count("error:") == 1, outcome.stderr  # and for no other reason
    figure("powerpc (32 bits): refused by the compiler")


def ordered_instructions(path: Path) -> dict[str, int]:
    """How often each ordered instruction occurs in a source file's aarch64 assembly."""
    made = run([cross_compiler("aarch64-linux-gnu-gcc"), *ASSEMBLE, "-o", "-", str(path)])
    assert made.returncode == 0, made.stderr
    return dict(Counter(ORDERED.findall(made.stdout)))


@pytest.mark.parametrize("name", PINNED)
def test_every_ordering_reaches_the_instructions_of_aarch64(name: str, figure: Callable[[str], None]) -> None:
    found = ordered_instructions(source(name))
    assert found == PINNED[name]
    figure(f"aarch64 {name}: " + ", ".join(f"{count} {instruction}" for instruction, count in found.items()))


@pytest.mark.parametrize("name", PINNED)
def test_any_ordering_made_weaker_shows_in_these_counts(
    name: str, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    text = source(name).read_text()
    weakened = tmp_path / name
    unnoticed, tried = [], Counter[str]()
    for access in ORDER.finditer(text):
        for weaker in WEAKER[access[0]]:
            weakened.write_text(text[: access.start()] + weaker + text[access.end() :])
            tried[access[0]] += 1
            if ordered_instructions(weakened) == PINNED[name]:
                unnoticed.append(f"{name}:{text.count(chr(10), 0, access.start()) + 1}: {access[0]} to {weaker}")
    assert not unnoticed
    assert tried["acquire"] == PINNED[name]["ldar"] - OF_HEADERS.get(name, 0)
    assert tried["release"] + tried["acq_rel"] > 0
    figure(f"aarch64 {name}: {tried.total()} orderings made weaker in a copy, each one noticed")
