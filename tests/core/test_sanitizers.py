"""The core under the sanitizers: threads over one mapping by TSan, and CPython itself over ASan and UBSan.

TSan sees one mapping only and no fences; it is a second pair of eyes on the release and acquire pairs, no more.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sources import CORE, compiled, source

pytestmark = [pytest.mark.verify, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SOURCES = ("geometry.c", "spsc.c", "mpmc.c", "repair.c", "topic.c", "latest.c")
# Where addresses are laid out at random over too many bits, TSan finds no room for its shadow.
PLAINLY = ["setarch", platform.machine(), "-R"] if shutil.which("setarch") else []


def driver(folder: Path, sanitizer: str, core: Path = CORE) -> Path:
    """Compile the C driver of the rings, in turn and in threads, with a sanitizer."""
    flags = (f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-g", "-pthread")
    return compiled(
        [HERE / "portability.c", *(source(name, core) for name in SOURCES)], folder / "driver", *flags, core=core
    )


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_the_c_driver_runs_without_a_report(sanitizer: str, tmp_path: Path, figure: Callable[[str], None]) -> None:
    done = subprocess.run([*PLAINLY, driver(tmp_path, sanitizer)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("ok\n")
    figure(f"{sanitizer}: 0 reports from the C driver")


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("spsc.c", "self->write_position, release)", "self->write_position, relaxed)"),
        ("mpmc.c", "SR_CAS(at, &expected, desired, release)", "SR_CAS(at, &expected, desired, relaxed)"),
        ("topic.c", "cursor, place.position, release)", "cursor, place.position, relaxed)"),
    ],
)
def test_tsan_sees_a_lost_release(file: str, before: str, after: str, tmp_path: Path) -> None:
    core = tmp_path / "core"
    shutil.copytree(CORE, core)
    changed = source(file, core)
    text = changed.read_text()
    assert text.count(before) == 1
    changed.write_text(text.replace(before, after))
    first = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1"}
    done = subprocess.run([*PLAINLY, driver(tmp_path, "thread", core)], capture_output=True, text=True, env=first)
    assert "data race" in done.stderr


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment in which `import shmring` is a build with ASan and UBSan, behind guard pages."""
    folder = tmp_path_factory.mktemp("sanitized")
    options = ["-Csetup-args=-Db_sanitize=address,undefined", "-Csetup-args=-Db_lundef=false"]
    options += ["-Csetup-args=-Dbuildtype=debugoptimized", f"-Cbuild-dir={folder / 'build'}"]
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder / "site"), *options]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    guard = folder / "guard_pages.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", str(HERE / "guard_pages.c"), "-o", str(guard)], check=True)
    runtimes = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    return {
        **os.environ,
        "PYTHONPATH": str(folder / "site"),
        "PYTHONSAFEPATH": "1",
        "PYTHONMALLOC": "malloc",
        "LD_PRELOAD": " ".join([*runtimes, str(guard)]),
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:handle_sigbus=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }


def test_the_ring_tests_pass_over_asan_ubsan_and_guard_pages(
    sanitized: dict[str, str], tmp_path: Path, figure: Callable[[str], None]
) -> None:
    tests = ["test_messages", "test_claims", "test_bad_input", "test_roles", "test_misuse"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]

    def run(name: str) -> subprocess.CompletedProcess[str]:
        path = ROOT / "tests" / "ring" / f"{name}.py"
        return subprocess.run(
            [*command, "--rootdir", str(ROOT), path], env=sanitized, cwd=tmp_path, capture_output=True, text=True
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        all_done = list(pool.map(run, tests))
    for done in all_done:
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        assert "ERROR: AddressSanitizer" not in done.stderr
        assert "runtime error" not in done.stderr
    passed = sum(int(found) for done in all_done for found in re.findall(r"(\d+) passed", done.stdout))
    assert passed
    figure(f"address,undefined under CPython: {passed} passed")


@pytest.mark.parametrize("step", ["-1", "len(view)"])
def test_a_step_outside_of_the_segment_is_a_crash(sanitized: dict[str, str], step: str) -> None:
    program = (
        "import ctypes, shmring._core, shmring.segment as s\n"
        "view = s.anonymous(36864, transferable=True)\n"
        "base = ctypes.addressof(ctypes.c_char.from_buffer(view))\n"
        f"print('here', flush=True); ctypes.c_char.from_address(base + {step}).value\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=sanitized, capture_output=True, text=True)
    assert done.stdout == "here\n"
    assert done.returncode != 0
