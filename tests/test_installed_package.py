"""What an installation has to contain, beside what importing it shows."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import shmring
from shmring import _core

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = Path(shmring.__file__).parent
CORE = ROOT / "shmring/core"
HEADERS = sorted(path.relative_to(CORE).as_posix() for path in CORE.rglob("*.h"))
OF_ANOTHER_PLATFORM = set() if sys.platform == "win32" else {"os/windows_objects.h"}


def test_the_tests_run_against_an_installation_and_not_against_the_checkout():
    assert not INSTALLED.is_relative_to(ROOT) or "site-packages" in INSTALLED.parts


def test_every_file_that_says_the_version_says_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (meson,) = re.findall(r"^  version: '(.*)',$", (ROOT / "meson.build").read_text(), re.MULTILINE)
    assert {project, meson, shmring.__version__, metadata.version("shmring")} == {shmring.__version__}


def test_the_core_is_built_for_the_limited_api():
    name = Path(_core.__file__).name
    assert name == "_core.pyd" if sys.platform == "win32" else ".abi3." in name


def test_every_module_of_the_checkout_is_installed():
    for path in (ROOT / "shmring").rglob("*.py"):
        if path.parent.name == "binding":  # what builds it
            continue
        assert (INSTALLED / path.relative_to(ROOT / "shmring")).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="names of mappings are hashed there")
def test_importing_it_leaves_what_is_slow_to_import_to_those_who_need_it():
    # Every worker process imports shmring: these are half of what that would take.
    slow = "asyncio", "decimal", "hashlib", "numpy", "msgspec", "multiprocess"
    program = f"import shmring, sys; print(*[name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_the_benches_are_installed_with_all_that_they_need():
    needed = {path for suffix in ("py", "c", "h", "css", "js") for path in (ROOT / "bench").rglob(f"*.{suffix}")}
    assert [path for path in needed if not (INSTALLED / "bench" / path.relative_to(ROOT / "bench")).exists()] == []


@pytest.mark.parametrize("name", ["py.typed", "_core.pyi", "core/LAYOUT.md"])
def test_types_and_layout_are_installed(name):
    assert (INSTALLED / name).exists()


def test_the_headers_are_where_get_include_says():
    assert [name for name in HEADERS if not (Path(shmring.get_include()) / name).exists()] == []


@pytest.mark.parametrize("header", sorted({*HEADERS} - OF_ANOTHER_PLATFORM))
def test_a_c_program_can_include_each_header_by_itself(header, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    program = tmp_path / "program.c"
    program.write_text(f'#include "{header}"\nint main(void) {{ return 0; }}\n')
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", shmring.get_include()]
    subprocess.run([compiler, *flags, str(program)], check=True)
